package netdata

import (
	"encoding/json"
	"fmt"
	"strings"
)

// OpenStack reads network_data.json of configuration drives and of OpenStack's
// metadata service:
// https://docs.openstack.org/nova/latest/user/metadata.html#openstack-format-metadata
func OpenStack(text []byte) (Network, error) {
	var data struct {
		Links    []openStackLink
		Networks []openStackNetwork
		Services []openStackService
	}
	if err := json.Unmarshal(text, &data); err != nil {
		return Network{}, err
	}
	var b Builder
	links := openStackLinks(&b, data.Links)
	for _, n := range data.Networks {
		i := links[n.Link]
		if i == nil {
			b.Problem("network %.40q: no link %.40q", n.ID, n.Link)
			continue
		}
		n.addTo(&b, i)
	}
	for _, s := range data.Services {
		s.addTo(&b)
	}
	return b.Network()
}

type openStackLink struct {
	ID             string
	Type           string
	MAC            string `json:"ethernet_mac_address"`
	MTU            int
	BondLinks      []string `json:"bond_links"`
	BondMode       string   `json:"bond_mode"`
	BondMIIMon     int      `json:"bond_miimon"`
	BondHashPolicy string   `json:"bond_xmit_hash_policy"`
	VLANID         int      `json:"vlan_id"`
	VLANLink       string   `json:"vlan_link"`
}

// openStackLinks makes the interfaces, by the ids of their links. A link's id
// is no interface's name ("tap2ecc7709-b3"): what exists is found by its
// hardware address, what is made gets a name of ours.
func openStackLinks(b *Builder, links []openStackLink) map[string]*Interface {
	made := make(map[string]*Interface)
	bonds := 0
	for _, l := range links {
		switch l.Type {
		case "vlan": // below
		case "bond":
			name := fmt.Sprintf("bond%d", bonds)
			bonds++
			i := b.Interface(name)
			i.BondOpts = map[string]string{"mode": l.BondMode}
			if l.BondMIIMon > 0 {
				i.BondOpts["miimon"] = fmt.Sprint(l.BondMIIMon)
			}
			if l.BondHashPolicy != "" {
				i.BondOpts["xmit_hash_policy"] = l.BondHashPolicy
			}
			b.MTU(i, l.MTU)
			made[l.ID] = i
		default: // phy, and the kinds of virtual links
			if i := b.Interface(l.ID); i != nil {
				if l.MAC != "" {
					b.MatchMAC(i, l.MAC)
				}
				b.MTU(i, l.MTU)
				made[l.ID] = i
			}
		}
	}
	bonds = 0
	for _, l := range links {
		switch l.Type {
		case "bond":
			for _, id := range l.BondLinks {
				if member := made[id]; member != nil {
					member.Bond = fmt.Sprintf("bond%d", bonds)
				} else {
					b.Problem("bond %.40q: no link %.40q", l.ID, id)
				}
			}
			bonds++
		case "vlan":
			parent := made[l.VLANLink]
			if parent == nil {
				b.Problem("VLAN %.40q: no link %.40q", l.ID, l.VLANLink)
				continue
			}
			if i := b.VLAN(parent, l.VLANID, ""); i != nil {
				b.MTU(i, l.MTU)
				made[l.ID] = i
			}
		}
	}
	return made
}

type openStackNetwork struct {
	ID      string
	Type    string
	Link    string
	Address string `json:"ip_address"`
	Netmask string
	Gateway string
	Routes  []struct {
		Network, Netmask, Gateway string
	}
	Services    []openStackService
	Nameservers []string `json:"dns_nameservers"`
}

func (n openStackNetwork) addTo(b *Builder, i *Interface) {
	switch {
	case strings.Contains(n.Type, "dhcp"), n.Type == "ipv6_slaac":
		i.DHCP = true
	case n.Type == "ipv4", n.Type == "ipv6":
		b.Address(i, n.Address, n.Netmask)
	default:
		b.Problem("network %.40q: unknown type %.40q", n.ID, n.Type)
		return
	}
	if n.Gateway != "" {
		b.Gateway(i, n.Gateway)
	}
	for _, r := range n.Routes {
		b.Route(i, Route{To: r.Network, Mask: r.Netmask, Via: r.Gateway})
	}
	for _, s := range n.Services {
		s.addTo(b)
	}
	b.Nameservers(n.Nameservers...)
}

type openStackService struct{ Type, Address string }

func (s openStackService) addTo(b *Builder) {
	if s.Type == "dns" {
		b.Nameservers(s.Address)
	}
}
