package platform

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/bulkhead-os/bulkhead/os-config/datasource"
)

// scaleway asks Scaleway's metadata service:
// https://www.scaleway.com/en/docs/instances/how-to/use-cloud-init/
func scaleway(ctx context.Context, base string) (datasource.Result, error) {
	c := newClient(base)
	defer c.close()
	var meta struct {
		ID         string
		Hostname   string
		Tags       []string
		PublicKeys []struct{ Key string } `json:"ssh_public_keys"`
	}
	var res datasource.Result
	if err := c.getJSON(ctx, "/conf?format=json", &meta); err != nil {
		return res, err
	}
	m := &res.Metadata
	m.InstanceID = meta.ID
	for _, key := range meta.PublicKeys {
		m.PublicKeys = append(m.PublicKeys, datasource.Lines(key.Key)...)
	}
	for _, tag := range meta.Tags {
		if key, ok := strings.CutPrefix(tag, "AUTHORIZED_KEY="); ok {
			m.PublicKeys = append(m.PublicKeys, strings.ReplaceAll(key, "_", " "))
		}
	}
	errs := []error{datasource.SetHostname(m, meta.Hostname)}

	// These are only given to root, which the port of the asker proves.
	c.http.Transport = &http.Transport{DialContext: dialPrivileged, DisableKeepAlives: true}
	user, err := c.getOptional(ctx, "/user_data/cloud-init")
	errs = append(errs, err)
	vendor, err := c.getOptional(ctx, "/vendor_data/cloud-init")
	res.UserData, res.VendorData = user, vendor
	return res, errors.Join(append(errs, err)...)
}

// Ports below 1024 that no service of ours uses.
const (
	firstPrivileged = 900
	lastPrivileged  = 949
)

// dialPrivileged connects from a privileged port.
func dialPrivileged(ctx context.Context, network, address string) (net.Conn, error) {
	var last error
	for port := firstPrivileged; port <= lastPrivileged; port++ {
		d := net.Dialer{LocalAddr: &net.TCPAddr{Port: port}}
		conn, err := d.DialContext(ctx, network, address)
		// A port of an earlier connection is not free for a minute.
		if err == nil || !errors.Is(err, syscall.EADDRINUSE) && !errors.Is(err, syscall.EADDRNOTAVAIL) {
			return conn, err
		}
		last = err
	}
	return nil, last
}
