package platform

import (
	"context"
	"errors"
	"strconv"

	"github.com/bulkhead-os/bulkhead/os-config/datasource"
	"github.com/bulkhead-os/bulkhead/os-config/datasource/netdata"
)

// digitalOcean asks DigitalOcean's metadata service:
// https://docs.digitalocean.com/reference/api/metadata/
func digitalOcean(ctx context.Context, base string) (datasource.Result, error) {
	c := newClient(base)
	defer c.close()
	var meta struct {
		ID         scalar `json:"droplet_id"`
		Hostname   string
		UserData   scalar                             `json:"user_data"`
		VendorData scalar                             `json:"vendor_data"`
		PublicKeys keys                               `json:"public_keys"`
		Interfaces map[string][]digitalOceanInterface // "public", "private"
		DNS        struct{ Nameservers []string }
	}
	if err := c.getJSON(ctx, "/metadata/v1.json", &meta); err != nil {
		return datasource.Result{}, err
	}
	res := datasource.Result{UserData: meta.UserData.bytes(), VendorData: meta.VendorData.bytes()}
	res.Metadata.InstanceID = string(meta.ID)
	res.Metadata.PublicKeys = meta.PublicKeys
	nameErr := datasource.SetHostname(&res.Metadata, meta.Hostname)

	var b netdata.Builder
	for _, kind := range []string{"public", "private"} {
		for n, nic := range meta.Interfaces[kind] {
			nic.addTo(&b, kind+strconv.Itoa(n), kind == "public")
		}
	}
	b.Nameservers(meta.DNS.Nameservers...)
	var err error
	res.Network, err = b.Network()
	return res, errors.Join(nameErr, err)
}

type digitalOceanInterface struct {
	MAC    string
	IPv4   digitalOceanAddress
	IPv6   digitalOceanAddress
	Anchor digitalOceanAddress `json:"anchor_ipv4"`
}

type digitalOceanAddress struct {
	Address string `json:"ip_address"`
	Netmask string
	CIDR    int
	Gateway string
}

// addTo adds an interface. Only the public ones lead to everywhere; the anchor
// address is for reserved addresses and needs no gateway.
func (nic digitalOceanInterface) addTo(b *netdata.Builder, key string, public bool) {
	i := b.Interface(key)
	b.MatchMAC(i, nic.MAC)
	for _, a := range []digitalOceanAddress{nic.IPv4, nic.Anchor, nic.IPv6} {
		if a.Address == "" {
			continue
		}
		mask := a.Netmask
		if mask == "" {
			mask = strconv.Itoa(a.CIDR)
		}
		b.Address(i, a.Address, mask)
		if public && a != nic.Anchor && a.Gateway != "" {
			b.Gateway(i, a.Gateway)
		}
	}
}
