package platform

import (
	"context"
	"errors"
	"fmt"

	"go.yaml.in/yaml/v3"

	"github.com/bulkhead-os/bulkhead/os-config/datasource"
	"github.com/bulkhead-os/bulkhead/os-config/datasource/netdata"
)

// hetzner asks Hetzner Cloud's metadata service:
// https://docs.hetzner.cloud/reference/cloud#description/server-metadata
func hetzner(ctx context.Context, base string) (datasource.Result, error) {
	c := newClient(base)
	defer c.close()
	const file = "/hetzner/v1/metadata"
	text, err := c.get(ctx, file)
	if err != nil {
		return datasource.Result{}, err
	}
	var meta struct {
		Hostname   string
		InstanceID string                `yaml:"instance-id"`
		PublicKeys datasource.PublicKeys `yaml:"public-keys"`
		Network    map[string]any        `yaml:"network-config"`
		VendorData string                `yaml:"vendor_data"`
	}
	if err := yaml.Unmarshal(text, &meta); err != nil {
		return datasource.Result{}, fmt.Errorf("%s%s: %w", base, file, err)
	}
	var res datasource.Result
	res.Metadata.InstanceID = meta.InstanceID
	res.Metadata.PublicKeys = meta.PublicKeys
	res.VendorData = scalar(meta.VendorData).bytes()
	errs := []error{datasource.SetHostname(&res.Metadata, meta.Hostname)}

	if meta.Network != nil {
		text, err := yaml.Marshal(meta.Network)
		if err == nil {
			res.Network, err = netdata.CloudInit(text)
		}
		errs = append(errs, err)
	}
	data, err := c.getOptional(ctx, "/hetzner/v1/userdata")
	if len(data) > 0 {
		res.UserData = maybeBase64(data)
	}
	return res, errors.Join(append(errs, err)...)
}
