// Package netdata turns what platforms say about a machine's network into the
// configuration's own form, the keys below rancher.network. It configures
// nothing; the network service does, from the merged configuration.
package netdata

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"

	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

// A Network is what a platform says about all interfaces. The yaml tags are
// those of rancher.network.
type Network struct {
	// Interfaces have as key the name of the interface, a pattern of names,
	// "mac=" and a hardware address, or "driver=" and its kernel module.
	Interfaces map[string]*Interface `yaml:"interfaces,omitempty"`
	DNS        DNS                   `yaml:"dns,omitempty"`
}

// DNS holds name servers and search domains.
type DNS struct {
	Nameservers []string `yaml:"nameservers,omitempty"`
	Search      []string `yaml:"search,omitempty"`
}

// An Interface is one link.
type Interface struct {
	// SetName is the name to give it.
	SetName string `yaml:"set_name,omitempty"`
	DHCP    bool   `yaml:"dhcp"`
	// DHCPArgs are arguments of dhcpcd(8).
	DHCPArgs string `yaml:"dhcp_args,omitempty"`
	IPv4LL   bool   `yaml:"ipv4ll,omitempty"`
	// Addresses have a prefix length.
	Addresses   []string `yaml:"addresses,omitempty"`
	Gateway     string   `yaml:"gateway,omitempty"`
	GatewayIPv6 string   `yaml:"gateway_ipv6,omitempty"`
	MTU         int      `yaml:"mtu,omitempty"`
	// Bridge is the bridge it is a member of, or "true" for a bridge.
	Bridge string `yaml:"bridge,omitempty"`
	// Bond is the bond it is a member of; BondOpts make it a bond, with the
	// names of the kernel's files in /sys/class/net/*/bonding.
	Bond     string            `yaml:"bond,omitempty"`
	BondOpts map[string]string `yaml:"bond_opts,omitempty"`
	// VLANs are "ID:name" on top of it, separated by commas.
	VLANs     string     `yaml:"vlans,omitempty"`
	WireGuard *WireGuard `yaml:"wireguard,omitempty"`
	// PreUp and PostUp are commands for what there is no key for, such as
	// routes other than the default ones. $iface is the interface.
	PreUp  []string `yaml:"pre_up,omitempty"`
	PostUp []string `yaml:"post_up,omitempty"`

	key string
}

// Read reads any of the forms: OpenStack's, Debian's and cloud-init's.
func Read(text []byte) (Network, error) {
	first, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	switch word, _, _ := strings.Cut(first, " "); {
	case word == "auto" || word == "iface":
		return Interfaces(text)
	case strings.HasPrefix(first, "{") && bytes.Contains(text, []byte(`"links"`)):
		return OpenStack(text)
	}
	return CloudInit(text)
}

// CloudConfig returns the network as a cloud-config, nil when it is empty.
func (n Network) CloudConfig() ([]byte, error) {
	if len(n.Interfaces) == 0 && len(n.DNS.Nameservers) == 0 && len(n.DNS.Search) == 0 {
		return nil, nil
	}
	text, err := yaml.Marshal(map[string]any{"rancher": map[string]any{"network": n}})
	if err != nil {
		return nil, fmt.Errorf("encode network data: %w", err)
	}
	return text, nil
}

// A Builder makes a Network from single statements. What is wrong is left out
// and told by the error of Network.
type Builder struct {
	links map[string]*Interface // by the id that the source gave
	dns   DNS
	errs  []error
}

// Network returns what was built.
func (b *Builder) Network() (Network, error) {
	n := Network{DNS: b.dns}
	for _, id := range slices.Sorted(maps.Keys(b.links)) {
		i := b.links[id]
		if n.Interfaces == nil {
			n.Interfaces = make(map[string]*Interface)
		}
		switch {
		case n.Interfaces[i.key] != nil:
			b.Problem("%s: another interface is also %s", id, i.key)
		case strings.ContainsFunc(i.key, unicode.IsSpace) || len(i.key) > maxKey && !strings.Contains(i.key, "="):
			b.Problem("%.40q: expected a hardware address, or the name of an interface", i.key)
		default:
			n.Interfaces[i.key] = i
		}
	}
	return n, errors.Join(b.errs...)
}

// maxKey is how long the name of an interface may be (IFNAMSIZ).
const maxKey = 15

// Problem notes something that could not be taken over.
func (b *Builder) Problem(format string, args ...any) {
	b.errs = append(b.errs, fmt.Errorf(format, args...))
}

// problemAt is Problem for a line of the text.
func (b *Builder) problemAt(line int, format string, args ...any) {
	b.errs = append(b.errs, &osconfig.LineError{Line: line, Err: fmt.Errorf(format, args...)})
}

// Interface returns the interface with an id, which it makes when it is new.
// The id is also its name, as long as nothing else is said. Nil stands for an
// id that can be none.
func (b *Builder) Interface(id string) *Interface {
	if !isName(id) {
		b.Problem("%.40q: expected the name of an interface", id)
		return nil
	}
	if i := b.links[id]; i != nil {
		return i
	}
	if b.links == nil {
		b.links = make(map[string]*Interface)
	}
	i := &Interface{key: id}
	b.links[id] = i
	return i
}

// Known returns the interface with an id, nil if there is none.
func (b *Builder) Known(id string) *Interface { return b.links[id] }

// MatchName makes an interface those whose name a pattern matches.
func (b *Builder) MatchName(i *Interface, pattern string) {
	if !isName(pattern) {
		b.Problem("%.40q: expected a pattern of names", pattern)
		return
	}
	i.key = pattern
}

// MatchMAC makes an interface the one with a hardware address.
func (b *Builder) MatchMAC(i *Interface, mac string) {
	hw, err := net.ParseMAC(mac)
	if err != nil {
		b.Problem("%.40q: expected a hardware address", mac)
		return
	}
	i.key = "mac=" + hw.String()
}

// MatchDriver makes an interface those whose driver a pattern matches.
func (b *Builder) MatchDriver(i *Interface, pattern string) {
	if !isName(pattern) {
		b.Problem("%.40q: expected the name of a driver", pattern)
		return
	}
	i.key = "driver=" + pattern
}

// Rename gives an interface a name.
func (b *Builder) Rename(i *Interface, name string) {
	if !isLinkName(name) {
		b.Problem("%.40q: expected a name of at most %d characters", name, maxKey)
		return
	}
	i.SetName = name
}

// Address adds an address. The mask is only heeded when the address has no
// prefix length itself; it is "255.255.255.0", "24" or, for IPv6, "ffff:ffff::".
func (b *Builder) Address(i *Interface, address, mask string) {
	p, err := parsePrefix(address, mask)
	if err != nil {
		b.errs = append(b.errs, err)
		return
	}
	if text := p.String(); !slices.Contains(i.Addresses, text) {
		i.Addresses = append(i.Addresses, text)
	}
}

// Gateway sets the default gateway of the address's family, unless there is
// one already.
func (b *Builder) Gateway(i *Interface, gateway string) {
	addr, err := netip.ParseAddr(strings.TrimSpace(gateway))
	switch {
	case err != nil:
		b.Problem("%.60q: expected the address of a gateway", gateway)
	case addr.Is4() && i.Gateway == "":
		i.Gateway = addr.String()
	case addr.Is6() && i.GatewayIPv6 == "":
		i.GatewayIPv6 = addr.String()
	}
}

// A Route is a route other than those of the addresses.
type Route struct {
	// To may be "default". The mask counts as that of Address.
	To, Mask string
	Via      string
	Metric   int
	// OnLink: the gateway is in no network of the interface. That of a plain
	// default gateway need not be.
	OnLink bool
	// Type and Options are further words of ip-route(8).
	Type    string
	Options []string
}

// Route adds a route. A plain one to everything becomes the default gateway.
func (b *Builder) Route(i *Interface, r Route) {
	to, via := r.To, r.Via
	if to == "default" {
		to = "0.0.0.0/0"
		if strings.Contains(via, ":") {
			to = "::/0"
		}
	}
	p, err := parsePrefix(to, r.Mask)
	if err != nil {
		b.errs = append(b.errs, err)
		return
	}
	if p.Bits() == 0 && via != "" && r.Metric == 0 && r.Type == "" && len(r.Options) == 0 {
		b.Gateway(i, via)
		return
	}
	words := []string{"ip route replace"}
	if r.Type != "" {
		words = append(words, r.Type)
	}
	words = append(words, p.Masked().String())
	if via != "" {
		addr, err := netip.ParseAddr(via)
		if err != nil || addr.Zone() != "" {
			b.Problem("route to %s: %.60q: expected the address of a gateway", p, via)
			return
		}
		words = append(words, "via", addr.String())
	}
	if !slices.Contains(nowhere, r.Type) {
		words = append(words, "dev $iface")
	}
	if r.Metric > 0 {
		words = append(words, "metric", strconv.Itoa(r.Metric))
	}
	words = append(words, r.Options...)
	if r.OnLink {
		words = append(words, "onlink")
	}
	i.PostUp = append(i.PostUp, strings.Join(words, " "))
}

// nowhere are the types of routes that lead to no interface.
var nowhere = []string{"unreachable", "prohibit", "blackhole", "throw"}

// MTU sets the largest packet size in bytes; 0 leaves it.
func (b *Builder) MTU(i *Interface, mtu int) {
	if mtu != 0 && (mtu < 68 || mtu > 65536) {
		b.Problem("%d: expected an MTU", mtu)
		return
	}
	i.MTU = mtu
}

// VLAN adds a VLAN on top of an interface and returns it.
func (b *Builder) VLAN(parent *Interface, id int, name string) *Interface {
	if id < 1 || id > 4094 {
		b.Problem("%d: expected a VLAN id, 1 to 4094", id)
		return nil
	}
	if !isLinkName(name) {
		name = "vlan" + strconv.Itoa(id)
	}
	if parent.VLANs != "" {
		parent.VLANs += ","
	}
	parent.VLANs += strconv.Itoa(id) + ":" + name
	return b.Interface(name)
}

// Nameservers adds addresses of name servers.
func (b *Builder) Nameservers(servers ...string) {
	for _, s := range servers {
		addr, err := netip.ParseAddr(strings.TrimSpace(s))
		if err != nil {
			b.Problem("%.60q: expected the address of a name server", s)
			continue
		}
		if text := addr.String(); !slices.Contains(b.dns.Nameservers, text) {
			b.dns.Nameservers = append(b.dns.Nameservers, text)
		}
	}
}

// Search adds search domains.
func (b *Builder) Search(domains ...string) {
	for _, d := range domains {
		if _, err := netip.ParseAddr(d); err == nil || !isName(d) {
			b.Problem("%.60q: expected a domain", d)
			continue
		}
		if !slices.Contains(b.dns.Search, d) {
			b.dns.Search = append(b.dns.Search, d)
		}
	}
}

func parsePrefix(address, mask string) (netip.Prefix, error) {
	address, mask = strings.TrimSpace(address), strings.TrimPrefix(strings.TrimSpace(mask), "/")
	if p, err := netip.ParsePrefix(address); err == nil {
		return p, nil
	}
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%.60q: expected an address with prefix length", address)
	}
	if bits, err := strconv.Atoi(mask); err == nil {
		if p := netip.PrefixFrom(addr, bits); p.IsValid() {
			return p, nil
		}
	}
	if m, err := netip.ParseAddr(mask); err == nil && m.BitLen() == addr.BitLen() {
		if bits, size := net.IPMask(m.AsSlice()).Size(); size > 0 {
			return netip.PrefixFrom(addr, bits), nil
		}
	}
	return netip.Prefix{}, fmt.Errorf("address %s: %.60q: expected a prefix length or netmask", addr, mask)
}

// isName holds for names that mislead no reader of files made of them.
func isName(s string) bool {
	return s != "" && len(s) <= 253 && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r == '/' || r == '"' || r == '\'' || r >= 0x7f
	})
}

// isLinkName holds for what the kernel takes as the name of an interface.
func isLinkName(s string) bool {
	return isName(s) && len(s) <= 15 && !strings.ContainsAny(s, ":,") && s[0] != '.'
}
