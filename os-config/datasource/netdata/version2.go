package netdata

import (
	"maps"
	"net"
	"slices"

	"go.yaml.in/yaml/v3"
)

// v2Link is a link of any kind in version 2, which is netplan's notation:
// https://netplan.readthedocs.io/en/stable/netplan-yaml/
type v2Link struct {
	Match struct {
		Name   string
		MAC    string `yaml:"macaddress"`
		Driver list
		Rest   rest `yaml:",inline"`
	}
	SetName     string `yaml:"set-name"`
	MAC         string `yaml:"macaddress"`
	DHCP4       bool
	DHCP6       bool
	Overrides4  v2Overrides `yaml:"dhcp4-overrides"`
	Overrides6  v2Overrides `yaml:"dhcp6-overrides"`
	AcceptRA    *bool       `yaml:"accept-ra"`
	LinkLocal   *list       `yaml:"link-local"`
	WakeOnLAN   bool        `yaml:"wakeonlan"`
	Addresses   []v2Address
	Gateway4    string
	Gateway6    string
	MTU         int
	Nameservers struct{ Addresses, Search list }
	Routes      []v2Route
	Rules       []v2Rule `yaml:"routing-policy"`
	// Of bonds and bridges.
	Interfaces list
	Parameters parameters
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
		Tunnels   map[string]v2Tunnel
		Rest      rest `yaml:",inline"`
	}
	var b Builder
	if err := b.decode(n, &doc); err != nil {
		return Network{}, err
	}
	doc.Rest.refuse(&b, "network configuration")
	for _, id := range slices.Sorted(maps.Keys(doc.Ethernets)) {
		doc.Ethernets[id].addEthernet(&b, id)
	}
	for _, name := range slices.Sorted(maps.Keys(doc.Bonds)) {
		l := doc.Bonds[name]
		if i := b.Interface(name); i != nil {
			i.BondOpts = l.Parameters.bond(&b, name)
			l.configure(&b, name, i)
		}
		for _, member := range l.members(&b, name) {
			member.Bond = name
		}
	}
	for _, name := range slices.Sorted(maps.Keys(doc.Bridges)) {
		l := doc.Bridges[name]
		if i := b.Interface(name); i != nil {
			l.Parameters.bridge(&b, name, i)
			l.configure(&b, name, i)
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
	for _, name := range slices.Sorted(maps.Keys(doc.Tunnels)) {
		doc.Tunnels[name].add(&b, name)
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
	// An address says best which it is.
	switch drivers := l.Match.Driver; {
	case l.Match.MAC != "":
		b.MatchMAC(i, l.Match.MAC)
	case l.Match.Name != "":
		b.MatchName(i, l.Match.Name)
		if len(drivers) > 0 {
			b.Problem("%s: match: driver has no effect together with name", id)
		}
	case len(drivers) > 0:
		b.MatchDriver(i, drivers[0])
		if len(drivers) > 1 {
			b.Problem("%s: match: only the first driver has an effect here", id)
		}
	}
	l.Match.Rest.refuse(b, id+": match")
	if l.SetName != "" {
		b.Rename(i, l.SetName)
	}
	l.configure(b, id, i)
}

// configure adds what all kinds of links have in common.
func (l v2Link) configure(b *Builder, id string, i *Interface) {
	l.configureDHCP(b, id, i)
	for _, a := range l.Addresses {
		b.Address(i, string(a), "")
	}
	for _, gateway := range []string{l.Gateway4, l.Gateway6} {
		if gateway != "" {
			b.Gateway(i, gateway)
		}
	}
	if l.MAC != "" {
		if hw, err := net.ParseMAC(l.MAC); err != nil {
			b.Problem("%s: %.40q: expected a hardware address", id, l.MAC)
		} else {
			i.PreUp = append(i.PreUp, "ip link set $iface address "+hw.String())
		}
	}
	if l.WakeOnLAN {
		i.PostUp = append(i.PostUp, "ethtool -s $iface wol g")
	}
	for _, r := range l.Routes {
		r.addTo(b, id, i)
	}
	for _, r := range l.Rules {
		r.addTo(b, id, i)
	}
	b.MTU(i, l.MTU)
	b.Nameservers(l.Nameservers.Addresses...)
	b.Search(l.Nameservers.Search...)
	l.Rest.refuse(b, id, "optional", "renderer", "dhcp-identifier", "critical", "ignore-carrier", "optional-addresses")
}
