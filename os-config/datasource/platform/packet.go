package platform

import (
	"context"
	"errors"
	"net/netip"
	"strconv"

	"github.com/bulkhead-os/bulkhead/os-config/datasource"
	"github.com/bulkhead-os/bulkhead/os-config/datasource/netdata"
)

// packet asks the metadata service of Equinix Metal, once Packet:
// https://deploy.equinix.com/developers/docs/metal/server-metadata/metadata/
func packet(ctx context.Context, base string) (datasource.Result, error) {
	c := newClient(base)
	defer c.close()
	var meta struct {
		ID       string
		Hostname string
		Keys     keys `json:"ssh_keys"`
		Network  packetNetwork
	}
	var res datasource.Result
	if err := c.getJSON(ctx, "/metadata", &meta); err != nil {
		return res, err
	}
	res.Metadata.InstanceID = meta.ID
	res.Metadata.PublicKeys = meta.Keys
	nameErr := datasource.SetHostname(&res.Metadata, meta.Hostname)
	var netErr, err error
	res.Network, netErr = meta.Network.network()
	res.UserData, err = c.getOptional(ctx, "/userdata")
	return res, errors.Join(nameErr, netErr, err)
}

type packetNetwork struct {
	Bonding    struct{ Mode int }
	Interfaces []struct{ Name, MAC, Bond string }
	Addresses  []struct {
		Address string
		CIDR    int
		Gateway string
		Public  bool
		Enabled *bool
	}
}

// network puts all addresses on one bond of all interfaces, as Packet's own
// images do.
func (n packetNetwork) network() (netdata.Network, error) {
	var b netdata.Builder
	if len(n.Interfaces) == 0 {
		return b.Network()
	}
	const name = "bond0"
	bond := b.Interface(name)
	bond.BondOpts = map[string]string{"mode": strconv.Itoa(n.Bonding.Mode), "miimon": "100", "downdelay": "200", "updelay": "200"}
	if n.Bonding.Mode == 4 { // 802.3ad
		bond.BondOpts["lacp_rate"] = "1"
		bond.BondOpts["xmit_hash_policy"] = "layer3+4"
	}
	for _, nic := range n.Interfaces {
		if i := b.Interface(nic.Name); i != nil {
			b.MatchMAC(i, nic.MAC)
			i.Bond = name
		}
	}
	for _, a := range n.Addresses {
		if a.Enabled != nil && !*a.Enabled {
			continue
		}
		b.Address(bond, a.Address, strconv.Itoa(a.CIDR))
		switch gateway, err := netip.ParseAddr(a.Gateway); {
		case a.Gateway == "":
		case a.Public || err == nil && gateway.Is6():
			b.Gateway(bond, a.Gateway)
		default:
			b.Route(bond, netdata.Route{To: "10.0.0.0/8", Via: a.Gateway})
		}
	}
	return b.Network()
}
