package osconfig

// Network configures interfaces and names.
type Network struct {
	// Seconds to wait for DHCP.
	DHCPTimeout int `yaml:"dhcp_timeout" eg:"30"`
	// Name servers.
	DNS DNS `yaml:"dns"`
	// Interfaces by name, by pattern (`eth*`), by address (`mac=52:54:00:12:34:56`)
	// or by driver (`driver=virtio_net`).
	Interfaces Interfaces `yaml:"interfaces" eg:"{eth0: {address: 10.0.0.2/24, gateway: 10.0.0.1}}"`
	// Interfaces among which the machine routes, by name or pattern. It routes for
	// containers in any case, and among no others.
	Forward []InterfaceKey `yaml:"forward" origin:"Bulkhead" eg:"[eth0, eth1]"`
	// Which ports others reach.
	Firewall Firewall `yaml:"firewall" origin:"Bulkhead"`
	// Commands to run before all interfaces are set up.
	PreCmds []Command `yaml:"pre_cmds" eg:"[sysctl -w net.ipv4.ip_forward=1]"`
	// Commands to run after all interfaces are set up.
	PostCmds []Command `yaml:"post_cmds" eg:"[ip route add 10.1.0.0/16 via 10.0.0.254]"`
	// Proxy for http.
	HTTPProxy Proxy `yaml:"http_proxy" eg:"http://proxy.example.org:3128"`
	// Proxy for https.
	HTTPSProxy Proxy `yaml:"https_proxy" eg:"http://proxy.example.org:3128"`
	// Hosts, domains and networks to reach without a proxy.
	NoProxy string `yaml:"no_proxy" eg:"localhost,127.0.0.1,.example.org"`
	// Wireless networks by a name of your own.
	WifiNetworks map[string]WifiNetwork `yaml:"wifi_networks" instead:"there is no firmware for wireless devices; use a cable"`
	// Mobile networks by a name of your own.
	ModemNetworks map[string]ModemNetwork `yaml:"modem_networks" instead:"there are no tools for modems; use a router"`
}

// DNS says who resolves names.
type DNS struct {
	// Servers to ask; else those that DHCP names.
	Nameservers []Address `yaml:"nameservers" eg:"[10.0.0.53, '2001:db8::53']"`
	// Domains to look up short names in.
	Search []Domain `yaml:"search" eg:"[example.org]"`
}

// Interfaces are interfaces by what they match.
type Interfaces map[string]Interface

func (Interfaces) checkKey(name string) error { return new(InterfaceKey).setText(name) }

// An Interface is a network interface.
type Interface struct {
	// Which interface it is, when its key is only a label: a name, a pattern,
	// `mac=` or `driver=`.
	Match InterfaceKey `yaml:"match" eg:"mac=52:54:00:12:34:56"`
	// Name to give it, for one that is found by its address or driver.
	SetName LinkName `yaml:"set_name" origin:"Bulkhead" eg:"lan0"`
	// Ask for an address by DHCP.
	DHCP bool `yaml:"dhcp" eg:"true"`
	// Command line of the DHCP client.
	DHCPArgs string `yaml:"dhcp_args" eg:"-4"`
	// Address with the length of its network.
	Address CIDR `yaml:"address" eg:"10.0.0.2/24"`
	// Several of them.
	Addresses []CIDR `yaml:"addresses" eg:"[10.0.0.2/24, '2001:db8::2/64']"`
	// Router to the rest of the world.
	Gateway Address `yaml:"gateway" eg:"10.0.0.1"`
	// The same for IPv6.
	GatewayIPv6 Address `yaml:"gateway_ipv6" eg:"2001:db8::1"`
	// Largest packet, in bytes.
	MTU MTU `yaml:"mtu" eg:"9000"`
	// Take a link-local address (169.254.0.0/16).
	IPv4LL bool `yaml:"ipv4ll" eg:"true"`
	// `true`: it is a bridge; else the bridge it is a member of.
	Bridge string `yaml:"bridge" eg:"br0"`
	// Bond it is a member of.
	Bond string `yaml:"bond" eg:"bond0"`
	// Options of a bond, as the kernel names them.
	BondOpts map[string]string `yaml:"bond_opts" eg:"{mode: '4', miimon: '100'}"`
	// VLANs on it, `number` or `number:name`, with commas between them.
	VLANs VLANs `yaml:"vlans" eg:"'100,200:guests'"`
	// Makes it a tunnel of WireGuard.
	WireGuard WireGuard `yaml:"wireguard" origin:"Bulkhead"`
	// Commands to run before it is set up; `$iface` is its name.
	PreUp []Command `yaml:"pre_up" eg:"[ethtool -K $iface gro off]"`
	// Commands to run after it is set up.
	PostUp []Command `yaml:"post_up" eg:"[ip route add 10.1.0.0/16 dev $iface]"`
	// Wireless network to join.
	WifiNetwork string `yaml:"wifi_network" instead:"there is no firmware for wireless devices; use a cable"`
}

// makeDo: a machine with a mistyped mtu should still have its address, and one
// whose address is mistyped should still be reachable.
func (i *Interface) makeDo() {
	if i.Address == "" && len(i.Addresses) == 0 && !i.IPv4LL && i.Bridge == "" && i.Bond == "" && !i.WireGuard.On() {
		i.DHCP = true
	}
}

// A WifiNetwork is a wireless network, as wpa_supplicant.conf(5) has it.
type WifiNetwork struct {
	// Its name on the air.
	SSID string `yaml:"ssid"`
	// Its key.
	PSK Secret `yaml:"psk"`
	// Look for hidden networks.
	ScanSSID int `yaml:"scan_ssid"`
	// Which of several networks to prefer.
	Priority int `yaml:"priority"`
	// Ciphers for one station.
	Pairwise string `yaml:"pairwise"`
	// Ciphers for all stations.
	Group string `yaml:"group"`
	// How keys are agreed on.
	KeyMgmt string `yaml:"key_mgmt"`
	// Method of login.
	EAP string `yaml:"eap"`
	// Name to log in with.
	Identity string `yaml:"identity"`
	// Name to show unencrypted.
	AnonymousIdentity string `yaml:"anonymous_identity"`
	// Password to log in with.
	Password Secret `yaml:"password"`
	// Files of certificate authorities.
	CACerts StringList `yaml:"ca_certs"`
	// Files of client certificates.
	ClientCerts StringList `yaml:"client_certs"`
	// Files of private keys.
	PrivateKeys StringList `yaml:"private_keys"`
	// Their passwords.
	PrivateKeyPasswds SecretList `yaml:"private_key_passwds"`
	// Parameters of the methods.
	Phases StringList `yaml:"phases"`
	// Flags of EAPOL.
	EapolFlags string `yaml:"eapol_flags"`
	// Address in the network.
	Address CIDR `yaml:"address"`
	// Router of the network.
	Gateway Address `yaml:"gateway"`
}

// A ModemNetwork is a mobile network.
type ModemNetwork struct {
	// Access point.
	APN string `yaml:"apn"`
	// Further arguments of the dial program.
	ExtraArgs string `yaml:"extra_args"`
}
