package platform

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/bulkhead-os/bulkhead/os-config/datasource"
)

// oracle asks Oracle Cloud's instance metadata service, version 2, or version
// 1 where the other is not there:
// https://docs.oracle.com/en-us/iaas/Content/Compute/Tasks/gettingmetadata.htm
func oracle(ctx context.Context, base string) (datasource.Result, error) {
	c := newClient(base, "Authorization", "Bearer Oracle")
	defer c.close()
	var meta struct {
		ID          string
		Hostname    string
		DisplayName string `json:"displayName"`
		Metadata    struct {
			Keys     string `json:"ssh_authorized_keys"`
			UserData string `json:"user_data"`
		}
	}
	var res datasource.Result
	err := c.getJSON(ctx, "/opc/v2/instance/", &meta)
	if errors.Is(err, ErrAbsent) {
		err = c.getJSON(ctx, "/opc/v1/instance/", &meta)
	}
	if err != nil {
		return res, err
	}
	m := &res.Metadata
	m.InstanceID = meta.ID
	m.PublicKeys = datasource.Lines(meta.Metadata.Keys)
	nameErr := datasource.SetHostname(m, cmp.Or(meta.Hostname, meta.DisplayName))
	if res.UserData, err = decodeBase64(meta.Metadata.UserData); err != nil {
		err = fmt.Errorf("user_data: %w", err)
	}
	return res, errors.Join(nameErr, err)
}
