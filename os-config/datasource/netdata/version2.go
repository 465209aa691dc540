package netdata

import (
	"maps"
	"slices"

	"go.yaml.in/yaml/v3"
)

// v2Link is a link of any kind in version 2, which is netplan's notation.
type v2Link struct {
	Match struct {
		Name string
		MAC  string `yaml:"macaddress"`
		Rest rest   `yaml:",inline"`
	}
	SetName     string `yaml:"set-name"`
	DHCP4       bool
	DHCP6       bool
	AcceptRA    bool `yaml:"accept-ra"`
	Addresses   []v2Address
	Gateway4    string
	Gateway6    string
	MTU         int
	Nameservers struct{ Addresses, Search list }
	Routes      []struct {
		To, Via string
		Metric  int
		Rest    rest `yaml:",inline"`
	}
	// Of bonds and bridges.
	Interfaces list
	Parameters map[string]list
	// Of VLANs.
	ID   int
	Link string
	Rest rest `yaml:",inline"`
}

// v2Address is "192.0.2.1/24", or {"192.0.2.1/24": {label: …}}.
type v2Address string

// UnmarshalYAML implements yaml.Unmarshaler.
func (a *v2Address) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.MappingNode && len(n.Content) > 0 {
		n = n.Content[0]
	}
	return n.Decode((*string)(a))
}

func version2(n *yaml.Node) (Network, error) {
	var doc struct {
		Version   int
		Renderer  string
		Ethernets map[string]v2Link
		Bonds     map[string]v2Link
		Bridges   map[string]v2Link
		VLANs     map[string]v2Link
		Rest      rest `yaml:",inline"`
	}
	if err := n.Decode(&doc); err != nil {
		return Network{}, err
	}
	var b Builder
	doc.Rest.refuse(&b, "network configuration")
	for _, id := range slices.Sorted(maps.Keys(doc.Ethernets)) {
		doc.Ethernets[id].addEthernet(&b, id)
	}
	for _, name := range slices.Sorted(maps.Keys(doc.Bonds)) {
		l := doc.Bonds[name]
		if i := b.Interface(name); i != nil {
			i.BondOpts = bondOptions(l.Parameters)
			l.configure(&b, name, i)
		}
		for _, member := range l.members(&b, name) {
			member.Bond = name
		}
	}
	for _, name := range slices.Sorted(maps.Keys(doc.Bridges)) {
		l := doc.Bridges[name]
		if i := b.Interface(name); i != nil {
			i.Bridge = "true"
			l.configure(&b, name, i)
			if len(l.Parameters) > 0 {
				b.Problem("%s: parameters of a bridge have no effect here", name)
			}
		}
		for _, member := range l.members(&b, name) {
			member.Bridge = name
		}
	}
	for _, name := range slices.Sorted(maps.Keys(doc.VLANs)) {
		l := doc.VLANs[name]
		parent := b.Known(l.Link)
		if parent == nil {
			b.Problem("VLAN %.40q: no link %.40q", name, l.Link)
			continue
		}
		if i := b.VLAN(parent, l.ID, name); i != nil {
			l.configure(&b, name, i)
		}
	}
	return b.Network()
}

// members are the links that a bond or bridge is made of, by their ids.
func (l v2Link) members(b *Builder, name string) []*Interface {
	var all []*Interface
	for _, id := range l.Interfaces {
		if i := b.Known(id); i != nil {
			all = append(all, i)
		} else {
			b.Problem("%s: no link %.40q", name, id)
		}
	}
	return all
}

func (l v2Link) addEthernet(b *Builder, id string) {
	i := b.Interface(id)
	if i == nil {
		return
	}
	switch {
	case l.Match.MAC != "":
		b.MatchMAC(i, l.Match.MAC)
	case l.Match.Name != "":
		b.MatchName(i, l.Match.Name)
	}
	l.Match.Rest.refuse(b, id+": match")
	if l.SetName != "" && l.SetName != id && l.SetName != l.Match.Name {
		b.Problem("%s: set-name has no effect here; interfaces keep the kernel's names", id)
	}
	l.configure(b, id, i)
}

// configure adds what all kinds of links have in common.
func (l v2Link) configure(b *Builder, id string, i *Interface) {
	i.DHCP = l.DHCP4 || l.DHCP6 || l.AcceptRA
	if i.DHCP && !l.DHCP4 && len(l.Addresses) == 0 {
		b.Problem("%s: DHCP for IPv6 alone is not known here; it is used for IPv4 too", id)
	}
	for _, a := range l.Addresses {
		b.Address(i, string(a), "")
	}
	for _, gateway := range []string{l.Gateway4, l.Gateway6} {
		if gateway != "" {
			b.Gateway(i, gateway)
		}
	}
	for _, r := range l.Routes {
		b.Route(i, r.To, "", r.Via, r.Metric)
		r.Rest.refuse(b, id+": route", "on-link", "scope", "type")
	}
	b.MTU(i, l.MTU)
	b.Nameservers(l.Nameservers.Addresses...)
	b.Search(l.Nameservers.Search...)
	l.Rest.refuse(b, id, "optional", "renderer", "link-local", "dhcp-identifier", "dhcp4-overrides", "dhcp6-overrides",
		"critical", "optional-addresses", "ipv6-privacy", "wakeonlan")
}
