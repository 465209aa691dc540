package platform

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"strconv"

	"github.com/bulkhead-os/bulkhead/os-config/datasource"
	"github.com/bulkhead-os/bulkhead/os-config/datasource/netdata"
)

// vultr asks Vultr's metadata service: https://www.vultr.com/metadata/
func vultr(ctx context.Context, base string) (datasource.Result, error) {
	c := newClient(base, "Metadata-Token", "cloudinit")
	defer c.close()
	var meta struct {
		Hostname   string
		ID         string           `json:"instance-v2-id"`
		OldID      scalar           `json:"instanceid"`
		PublicKeys keys             `json:"public-keys"`
		UserData   scalar           `json:"user-data"`
		VendorData scalar           `json:"vendor-data"`
		Ready      json.RawMessage  `json:"cloud_interfaces"`
		Interfaces []vultrInterface `json:"interfaces"`
	}
	if err := c.getJSON(ctx, "/v1.json", &meta); err != nil {
		return datasource.Result{}, err
	}
	res := datasource.Result{UserData: meta.UserData.bytes(), VendorData: meta.VendorData.bytes()}
	res.Metadata.InstanceID = cmp.Or(meta.ID, string(meta.OldID))
	res.Metadata.PublicKeys = meta.PublicKeys
	nameErr := datasource.SetHostname(&res.Metadata, meta.Hostname)

	var err error
	if meta.Ready != nil {
		res.Network, err = netdata.CloudInit(meta.Ready)
		return res, errors.Join(nameErr, err)
	}
	var b netdata.Builder
	for n, nic := range meta.Interfaces {
		nic.addTo(&b, n)
	}
	res.Network, err = b.Network()
	return res, errors.Join(nameErr, err)
}

type vultrInterface struct {
	MAC  string
	Type string `json:"network-type"`
	IPv4 struct {
		Address, Netmask string
		Additional       []struct{ Address, Netmask string }
	}
	IPv6 struct {
		Additional []struct{ Network, Prefix string }
	}
}

// addTo adds an interface. The public one has DHCP and router advertisements
// for all but further addresses.
func (nic vultrInterface) addTo(b *netdata.Builder, n int) {
	i := b.Interface(cmp.Or(nic.Type, "nic") + strconv.Itoa(n))
	if i == nil {
		return
	}
	b.MatchMAC(i, nic.MAC)
	if nic.Type == "public" {
		i.DHCP = true
	} else if nic.IPv4.Address != "" {
		b.Address(i, nic.IPv4.Address, nic.IPv4.Netmask)
	}
	for _, a := range nic.IPv4.Additional {
		b.Address(i, a.Address, a.Netmask)
	}
	for _, a := range nic.IPv6.Additional {
		b.Address(i, a.Network, a.Prefix)
	}
}
