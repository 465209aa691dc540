package network

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

// config reads the interfaces of a cloud-config.
func config(t *testing.T, text string) osconfig.Network {
	t.Helper()
	var c osconfig.Config
	for _, p := range c.Merge("test", []byte("rancher:\n  network:\n    interfaces:\n"+text)) {
		if !strings.Contains(p.Text, "no effect") {
			t.Fatal(p)
		}
	}
	return c.Rancher.Network
}

func device(name, mac string) Link { return Link{Name: name, Kind: "device", MAC: mac, MTU: 1500} }

var compare = cmp.Options{cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}), cmpopts.EquateEmpty(), cmpopts.IgnoreUnexported(Target{})}

func prefixes(list ...string) (all []netip.Prefix) {
	for _, s := range list {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

func addrs(list ...string) (all []netip.Addr) {
	for _, s := range list {
		all = append(all, netip.MustParseAddr(s))
	}
	return all
}

// Keys that are none of anybody's.
const (
	testKey  = "YW4gZXhhbXBsZSwgYW5kIG5vdGhpbmcgc2VjcmV0LTA="
	testPeer = "YW4gZXhhbXBsZSwgYW5kIG5vdGhpbmcgc2VjcmV0LTE="
)

// tunnelOf is a configuration with a tunnel to one peer, and other interfaces.
func tunnelOf(others, address, peer string) string {
	return others + "      wg0: {address: " + address + ", wireguard: {private_key: " + testKey + ", peers: [{public_key: " + testPeer + ", " + peer + "}]}}\n"
}

func TestPlan(t *testing.T) {
	eth0, eth1, eth2 := device("eth0", "52:54:00:00:00:0a"), device("eth1", "52:54:00:00:00:0b"), device("eth2", "52:54:00:00:00:0c")
	known := eth0
	known.Others = []string{"enp0s18", "ens18"}
	lo := Link{Name: "lo", Kind: "device"}
	docker := Link{Name: "docker0", Kind: "bridge"}
	for _, tt := range []struct {
		name, config string
		links        []Link
		want         []Target
		problems     []string
	}{
		{"nothing configured", "", []Link{docker, eth0, eth1, lo, {Name: "eth0.5", Kind: "vlan"}},
			[]Target{{Name: "eth0", DHCP: true}, {Name: "eth1", DHCP: true}}, nil},
		{"static", "      eth0: {addresses: [10.0.0.2/24, '2001:db8::2/64'], address: 10.0.0.2/24, gateway: 10.0.0.1, gateway_ipv6: '2001:db8::1', mtu: 9000}\n",
			[]Link{eth0, eth1}, []Target{{
				Name: "eth0", MTU: 9000, Addresses: prefixes("10.0.0.2/24", "2001:db8::2/64"), Gateways: addrs("10.0.0.1", "2001:db8::1"),
			}}, nil},
		{"address beats name beats pattern", "      eth*: {dhcp: true}\n      eth1: {mtu: 1400}\n      mac=52:54:00:00:00:0c: {mtu: 1300}\n      eth2: {mtu: 1200}\n",
			[]Link{eth0, eth1, eth2}, []Target{{Name: "eth0", DHCP: true}, {Name: "eth1", MTU: 1400}, {Name: "eth2", MTU: 1300}},
			[]string{"rancher.network.interfaces.eth2: no such interface yet; there is eth0 (52:54:00:00:00:0a), eth1 (52:54:00:00:00:0b), eth2 (52:54:00:00:00:0c)"}},
		{"match behind a label", "      lan: {match: 'mac=52:54:00:00:00:*', dhcp: true}\n", []Link{eth0, {Name: "br0", Kind: "bridge", MAC: "52:54:00:00:00:0a"}},
			[]Target{{Name: "eth0", DHCP: true}}, nil},
		{"bond with VLANs", "      eth0: {bond: bond0}\n      eth1: {bond: bond0, address: 10.9.9.9/24}\n      bond0: {bond_opts: {mode: '1'}, vlans: '100,200:guests'}\n      guests: {address: 10.2.0.2/24}\n",
			[]Link{eth0, eth1}, []Target{
				{Name: "eth0", Master: "bond0"}, {Name: "eth1", Master: "bond0"}, {Name: "bond0", Kind: "bond", Bond: map[string]string{"mode": "1"}},
				{Name: "bond0.100", Kind: "vlan", Parent: "bond0", ID: 100},
				{Name: "guests", Kind: "vlan", Parent: "bond0", ID: 200, Addresses: prefixes("10.2.0.2/24")},
			}, []string{"rancher.network.interfaces.eth1: addresses belong to bond0, which it is a member of"}},
		{"VLAN in a bridge", "      eth0: {vlans: '5'}\n      eth0.5: {bridge: br0}\n      br0: {bridge: 'true', dhcp: true}\n", []Link{eth0},
			[]Target{{Name: "eth0"}, {Name: "br0", Kind: "bridge", DHCP: true}, {Name: "eth0.5", Kind: "vlan", Parent: "eth0", ID: 5, Master: "br0"}}, nil},
		{"bridge that only a member names", "      eth0: {bridge: br0}\n", []Link{eth0},
			[]Target{{Name: "eth0", Master: "br0"}, {Name: "br0", Kind: "bridge"}}, nil},
		{"other hardware than configured", "      eth7: {address: 10.0.0.2/24}\n", []Link{eth0},
			[]Target{{Name: "eth0", DHCP: true}},
			[]string{"rancher.network.interfaces.eth7: no such interface yet; there is eth0 (52:54:00:00:00:0a)", "no configured interface exists; DHCP on every wired link"}},
		{"a tunnel and DHCP", tunnelOf("", "10.7.0.1/24", "allowed_ips: [10.7.0.2, 10.8.0.0/16, 10.8.0.0/16, 0.0.0.0/0, '::/0', 'fd00:8::/64']"), []Link{eth0, lo},
			[]Target{{Name: "eth0", DHCP: true}, {
				Name: "wg0", Kind: wireguard, Addresses: prefixes("10.7.0.1/24"), Routes: prefixes("10.8.0.0/16", "fd00:8::/64"),
				WireGuard: osconfig.WireGuard{PrivateKey: osconfig.WireGuardKey{Secret: testKey}, Peers: []osconfig.WireGuardPeer{{
					PublicKey: testPeer, AllowedIPs: []osconfig.IPNetwork{"10.7.0.2/32", "10.8.0.0/16", "10.8.0.0/16", "0.0.0.0/0", "::/0", "fd00:8::/64"},
				}}},
			}}, nil},
		{"a tunnel that wants too much", tunnelOf("      eth0: {address: 10.0.0.2/24}\n", "10.7.0.1/24, dhcp: true", "") + "      wg*: {wireguard: {private_key: " + testKey + "}}\n      wg1: {vlans: '5', wireguard: {private_key: " + testKey + "}}\n", []Link{eth0},
			[]Target{{Name: "eth0", Addresses: prefixes("10.0.0.2/24")}, {Name: "wg0", Kind: wireguard, Addresses: prefixes("10.7.0.1/24"),
				WireGuard: osconfig.WireGuard{PrivateKey: osconfig.WireGuardKey{Secret: testKey}, Peers: []osconfig.WireGuardPeer{{PublicKey: testPeer}}}}},
			[]string{
				"rancher.network.interfaces.wg*: a tunnel needs a name, not a pattern",
				"rancher.network.interfaces.wg1: a tunnel is no bridge or bond, a member of none, and has no VLANs",
				"rancher.network.interfaces.wg0: a tunnel has no DHCP; give it an address",
				"rancher.network.interfaces.wg*: no such interface yet; there is eth0 (52:54:00:00:00:0a)",
				"rancher.network.interfaces.wg1: no such interface yet; there is eth0 (52:54:00:00:00:0a)",
			}},
		{"VLAN name too long", "      a23456789012: {vlans: '4000,7'}\n", []Link{{Name: "a23456789012", Kind: "device"}},
			[]Target{{Name: "a23456789012"}, {Name: "a23456789012.7", Kind: "vlan", Parent: "a23456789012", ID: 7}},
			[]string{"rancher.network.interfaces.a23456789012.vlans: a23456789012.4000 is longer than 15 characters; name it: 4000:NAME"}},

		{"the name of another system", "      ens18: {mtu: 1400}\n", []Link{docker, known, lo}, []Target{{Name: "eth0", MTU: 1400}}, nil},
		{"the kernel's name is more telling", "      ens18: {mtu: 1400}\n      eth0: {mtu: 1300}\n", []Link{known},
			[]Target{{Name: "eth0", MTU: 1300}}, []string{"rancher.network.interfaces.ens18: no such interface yet; there is eth0, also enp0s18, ens18 (52:54:00:00:00:0a)"}},
		{"a pattern of such names", "      enp*: {mtu: 1400}\n", []Link{known}, []Target{{Name: "eth0", MTU: 1400}}, nil},
		{"a name that nothing has, and one card", "      ens192: {mtu: 1400}\n", []Link{eth0, docker, lo}, []Target{{Name: "eth0", MTU: 1400}}, nil},
		{"one name and one card that are left", "      eth0: {mtu: 1300}\n      lan: {mtu: 1400, vlans: '7'}\n      lan.7: {dhcp: true}\n", []Link{eth0, eth1},
			[]Target{{Name: "eth0", MTU: 1300}, {Name: "eth1", MTU: 1400}, {Name: "eth1.7", Kind: "vlan", Parent: "eth1", ID: 7}},
			[]string{"rancher.network.interfaces.lan.7: no such interface yet; there is eth0 (52:54:00:00:00:0a), eth1 (52:54:00:00:00:0b)"}},
		{"a pattern that nothing has", "      en*: {mtu: 1400}\n", []Link{eth0, eth1}, []Target{{Name: "eth0", MTU: 1400}, {Name: "eth1", MTU: 1400}}, nil},
		{"two cards that one name could mean", "      ens192: {mtu: 1400}\n", []Link{eth0, eth1},
			[]Target{{Name: "eth0", DHCP: true}, {Name: "eth1", DHCP: true}},
			[]string{"rancher.network.interfaces.ens192: no such interface yet; there is eth0 (52:54:00:00:00:0a), eth1 (52:54:00:00:00:0b)",
				"no configured interface exists; DHCP on every wired link"}},
		{"an address that no card has is no name", "      mac=52:54:00:00:00:ff: {mtu: 1400}\n", []Link{eth0}, []Target{{Name: "eth0", DHCP: true}},
			[]string{"rancher.network.interfaces.mac=52:54:00:00:00:ff: no such interface yet; there is eth0 (52:54:00:00:00:0a)",
				"no configured interface exists; DHCP on every wired link"}},
		{"by driver", "      driver=virtio_*: {mtu: 1400}\n", []Link{{Name: "eth0", Kind: "device", Driver: "e1000"}, {Name: "eth1", Kind: "device", Driver: "virtio_net"}},
			[]Target{{Name: "eth1", MTU: 1400}}, nil},
		{"another name, and what is on top", "      mac=52:54:00:00:00:0a: {set_name: lan0, vlans: '5'}\n", []Link{eth0},
			[]Target{{Name: "lan0", From: "eth0"}, {Name: "lan0.5", Kind: "vlan", Parent: "lan0", ID: 5}}, nil},
		{"the name that it has already", "      mac=52:54:00:00:00:0a: {set_name: eth0}\n", []Link{eth0}, []Target{{Name: "eth0"}}, nil},
		{"each other's names", "      mac=52:54:00:00:00:0a: {set_name: eth1}\n      mac=52:54:00:00:00:0b: {set_name: eth0}\n", []Link{eth0, eth1},
			[]Target{{Name: "eth1", From: "eth0"}, {Name: "eth0", From: "eth1"}}, nil},
		{"a name that another keeps", "      mac=52:54:00:00:00:0a: {set_name: eth1, mtu: 1400}\n      eth1: {mtu: 1300}\n", []Link{eth0, eth1},
			[]Target{{Name: "eth0", MTU: 1400}, {Name: "eth1", MTU: 1300}},
			[]string{"rancher.network.interfaces.mac=52:54:00:00:00:0a.set_name: another interface is eth1; this one stays eth0"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, problems := Plan(config(t, tt.config), tt.links)
			if diff := cmp.Diff(tt.want, got, compare); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tt.problems, problems, compare); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func texts(actions []Action) (list []string) {
	for _, a := range actions {
		list = append(list, a.String())
	}
	return list
}

func TestStructure(t *testing.T) {
	bond := Target{Name: "bond0", Kind: "bond", Bond: map[string]string{"mode": "1"}}
	vlan := Target{Name: "bond0.7", Kind: "vlan", Parent: "bond0", ID: 7}
	eth0 := device("eth0", "")
	for _, tt := range []struct {
		name    string
		targets []Target
		links   []Link
		want    []string
	}{
		{"all is there", []Target{bond, vlan}, []Link{{Name: "bond0", Made: "bond mode=1"}, {Name: "bond0.7", Made: "vlan 7 on bond0"}}, nil},
		{"nothing is there", []Target{{Name: "eth0"}, bond, vlan}, []Link{eth0}, []string{"make bond0: bond mode=1", "make bond0.7: vlan 7 on bond0"}},
		{"other options: what is on top goes along", []Target{bond, vlan}, []Link{{Name: "bond0", Made: "bond mode=4"}, {Name: "bond0.7", Made: "vlan 7 on bond0"}},
			[]string{"delete bond0", "make bond0: bond mode=1", "make bond0.7: vlan 7 on bond0"}},
		{"one of the driver's own", []Target{bond}, []Link{{Name: "bond0", Kind: "bond"}}, []string{"delete bond0", "make bond0: bond mode=1"}},
		{"a name", []Target{{Name: "lan0", From: "eth0"}}, []Link{eth0}, []string{"rename eth0 to lan0"}},
		{"each other's names", []Target{{Name: "eth1", From: "eth0"}, {Name: "eth0", From: "eth1"}}, []Link{eth0, device("eth1", "")},
			[]string{"rename eth0 to rename0", "rename eth1 to rename1", "rename rename0 to eth1", "rename rename1 to eth0"}},
		{"ours go, others stay", nil, []Link{{Name: "br0", Made: "bridge"}, {Name: "docker0", Kind: "bridge"}}, []string{"delete br0"}},
	} {
		if diff := cmp.Diff(tt.want, texts(structure(tt.targets, tt.links))); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

func TestSetup(t *testing.T) {
	static := Target{Name: "eth0", Addresses: prefixes("10.0.0.2/24"), Gateways: addrs("10.0.0.1"), MTU: 1400}
	address := func(s string, lasting bool) Address { return Address{netip.MustParsePrefix(s), lasting} }
	ours := map[string]bool{"bond0": true}
	for _, tt := range []struct {
		name   string
		target Target
		link   Link
		want   []string
	}{
		{"from nothing", static, device("eth0", ""), []string{
			"set MTU of eth0 to 1400", "switch eth0 on", "add 10.0.0.2/24 to eth0", "add default route by 10.0.0.1 on eth0"}},
		{"as it should be", static, Link{Up: true, MTU: 1400, Addresses: []Address{address("10.0.0.2/24", true), address("fe80::1/64", true)},
			Gateways: addrs("10.0.0.1")}, nil},
		{"moved: first the new, then without the old", static, Link{Up: true, MTU: 1400, Addresses: []Address{address("10.0.0.9/24", true)}, Gateways: addrs("10.0.0.254")},
			[]string{"add 10.0.0.2/24 to eth0", "add default route by 10.0.0.1 on eth0", "remove 10.0.0.9/24 from eth0", "remove default route by 10.0.0.254 on eth0"}},
		{"the lease of the same address becomes lasting", static, Link{Up: true, MTU: 1400, Addresses: []Address{address("10.0.0.2/24", false)}, Gateways: addrs("10.0.0.1")},
			[]string{"add 10.0.0.2/24 to eth0"}},
		{"leases stay, what was configured once goes", Target{Name: "eth0", DHCP: true},
			Link{Up: true, Addresses: []Address{address("10.0.0.7/24", true), address("10.0.0.8/24", false), address("10.0.0.9/24", true), address("2001:db8::1/64", true)}},
			[]string{"remove 10.0.0.9/24 from eth0"}},
		{"into a bond", Target{Name: "eth0", Master: "bond0"}, Link{Up: true, Addresses: []Address{address("10.0.0.9/24", false)}},
			[]string{"switch eth0 off", "put eth0 into bond0", "switch eth0 on", "remove 10.0.0.9/24 from eth0"}},
		{"out of ours", Target{Name: "eth0"}, Link{Up: true, Master: "bond0"}, []string{"take eth0 out of what it is a member of"}},
		{"not out of others'", Target{Name: "eth0"}, Link{Up: true, Master: "docker0"}, nil},
	} {
		if diff := cmp.Diff(tt.want, texts(setup(tt.target, tt.link, ours, addrs("10.0.0.7")))); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

func TestDHCPCDConfig(t *testing.T) {
	text, problems := dhcpcdConfig("noarp\n", []Target{
		{Name: "eth0", DHCP: true, DHCPArgs: "-MA4 -e force_hostname=true --timeout 5 -m 300 --bogus"},
		{Name: "eth1", Addresses: prefixes("10.0.0.2/24")},
		{Name: "eth2", IPv4LL: true},
	})
	want := `noarp
allowinterfaces eth0 eth2

interface eth0
nooption interface_mtu
noarp
noipv6
metric 300

interface eth2
nodhcp
nodhcp6
noipv6rs
ipv4ll
`
	if diff := cmp.Diff(want, text); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"rancher.network.interfaces.eth0.dhcp_args: --bogus has no effect here"}, problems); diff != "" {
		t.Error(diff)
	}
	if text, _ := dhcpcdConfig("noarp\n", []Target{{Name: "eth1"}}); text != "" {
		t.Errorf("a configuration without interfaces:\n%s", text)
	}
}

func TestRenameHost(t *testing.T) {
	got := renameHost("127.0.0.1 localhost\n127.0.1.1 bulkhead\n::1 localhost\n", "box.lab.test")
	if want := "127.0.0.1 localhost\n127.0.1.1 box.lab.test box\n::1 localhost\n"; got != want {
		t.Errorf("hosts:\n%s\nwant:\n%s", got, want)
	}
}
