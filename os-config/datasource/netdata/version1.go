package netdata

import (
	"cmp"

	"go.yaml.in/yaml/v3"
)

// v1Item is an item of "config" in version 1. One struct serves all types.
type v1Item struct {
	Type             string
	Name             string
	MAC              string `yaml:"mac_address"`
	MTU              int
	Subnets          []v1Subnet
	BondInterfaces   list `yaml:"bond_interfaces"`
	BridgeInterfaces list `yaml:"bridge_interfaces"`
	Params           parameters
	VLANLink         string `yaml:"vlan_link"`
	VLANID           int    `yaml:"vlan_id"`
	// Of name servers and routes.
	Address     list
	Search      list
	Destination string
	Netmask     string
	Gateway     string
	Metric      int
	Rest        rest `yaml:",inline"`
}

type v1Subnet struct {
	Type        string
	Address     string
	Netmask     string
	Gateway     string
	Nameservers list `yaml:"dns_nameservers"`
	Search      list `yaml:"dns_search"`
	Routes      []v1Route
	Rest        rest `yaml:",inline"`
}

type v1Route struct {
	Destination string
	Network     string
	Netmask     string
	Prefix      string
	Gateway     string
	Metric      int
}

func version1(n *yaml.Node) (Network, error) {
	var doc struct{ Config []v1Item }
	var b Builder
	if err := b.decode(n, &doc); err != nil {
		return Network{}, err
	}
	// VLANs come last: they are on top of what is listed anywhere.
	for _, item := range doc.Config {
		if item.Type != "vlan" {
			item.addTo(&b)
		}
	}
	for _, item := range doc.Config {
		if item.Type != "vlan" {
			continue
		}
		if parent := b.Interface(item.VLANLink); parent != nil {
			if i := b.VLAN(parent, item.VLANID, item.Name); i != nil {
				item.configure(&b, i)
			}
		}
	}
	return b.Network()
}

func (item v1Item) addTo(b *Builder) {
	switch item.Type {
	case "loopback": // is always there
	case "physical":
		if i := b.Interface(cmp.Or(item.Name, item.MAC)); i != nil {
			if item.MAC != "" {
				b.MatchMAC(i, item.MAC)
				if item.Name != "" {
					b.Rename(i, item.Name)
				}
			}
			item.configure(b, i)
		}
	case "bond":
		if i := b.Interface(item.Name); i != nil {
			i.BondOpts = item.Params.bond(b, item.Name)
			item.configure(b, i)
		}
		for _, name := range item.BondInterfaces {
			if member := b.Interface(name); member != nil {
				member.Bond = item.Name
			}
		}
	case "bridge":
		if i := b.Interface(item.Name); i != nil {
			item.Params.bridge(b, item.Name, i)
			item.configure(b, i)
		}
		for _, name := range item.BridgeInterfaces {
			if member := b.Interface(name); member != nil {
				member.Bridge = item.Name
			}
		}
	case "nameserver":
		b.Nameservers(item.Address...)
		b.Search(item.Search...)
	case "route":
		b.Problem("route to %.60q: write it below the subnet of its interface", item.Destination)
	default:
		b.Problem("%.40q: unknown type %.40q", item.Name, item.Type)
	}
}

// configure adds what all kinds of interfaces have in common.
func (item v1Item) configure(b *Builder, i *Interface) {
	b.MTU(i, item.MTU)
	four := false
	for _, s := range item.Subnets {
		s.addTo(b, i)
		four = four || s.Type == "dhcp" || s.Type == "dhcp4"
	}
	if i.DHCP && !four {
		i.DHCPArgs = ipv6Only
	}
	item.Rest.refuse(b, item.Name, "accept-ra", "keep_configuration")
}

func (s v1Subnet) addTo(b *Builder, i *Interface) {
	switch s.Type {
	case "dhcp", "dhcp4", "dhcp6", "ipv6_slaac", "ipv6_dhcpv6-stateful", "ipv6_dhcpv6-stateless":
		i.DHCP = true
	case "static", "static6", "":
		b.Address(i, s.Address, s.Netmask)
	case "manual":
	default:
		b.Problem("subnet: unknown type %.40q", s.Type)
	}
	if s.Gateway != "" {
		b.Gateway(i, s.Gateway)
	}
	for _, r := range s.Routes {
		to, mask := r.Destination, r.Netmask
		if to == "" {
			to = r.Network
		}
		if mask == "" {
			mask = r.Prefix
		}
		b.Route(i, Route{To: to, Mask: mask, Via: r.Gateway, Metric: r.Metric})
	}
	b.Nameservers(s.Nameservers...)
	b.Search(s.Search...)
	s.Rest.refuse(b, "subnet", "control", "ipv4", "ipv6", "scope", "broadcast")
}
