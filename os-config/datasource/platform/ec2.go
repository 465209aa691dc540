package platform

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	osconfig "github.com/bulkhead-os/bulkhead/os-config"
	"github.com/bulkhead-os/bulkhead/os-config/datasource"
)

// tokenLife is how long a session token is to hold, in seconds.
const tokenLife = "300"

// ec2 asks Amazon's instance metadata service, version 2, or version 1 where
// that is refused:
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
func ec2(ctx context.Context, base string) (datasource.Result, error) {
	c := newClient(base)
	defer c.close()
	return tree(ctx, c, "/latest", session{"/latest/api/token", "X-aws-ec2-metadata-token"})
}

// aliyun asks Alibaba's service, which is much like Amazon's:
// https://www.alibabacloud.com/help/en/ecs/user-guide/view-instance-metadata
func aliyun(ctx context.Context, base string) (datasource.Result, error) {
	c := newClient(base)
	defer c.close()
	return tree(ctx, c, "/latest", session{"/latest/api/token", "X-aliyun-ecs-metadata-token"})
}

// exoscale asks Exoscale's service:
// https://community.exoscale.com/product/compute/instances/how-to/cloud-init/
func exoscale(ctx context.Context, base string) (datasource.Result, error) {
	c := newClient(base)
	defer c.close()
	return tree(ctx, c, "/latest", session{})
}

// cloudStack asks the virtual router, which is also the DHCP server and the
// gateway:
// https://docs.cloudstack.apache.org/en/latest/adminguide/virtual_machines/user-data.html
func cloudStack(name, place string, m Machine) ([]Source, error) {
	if place != "" {
		if err := checkBase(place); err != nil {
			return nil, err
		}
	}
	return []Source{{Name: name, Place: place, Network: true, Fetch: func(ctx context.Context) (datasource.Result, error) {
		base := place
		if base == "" {
			gateway, err := m.Gateway()
			if err != nil {
				return datasource.Result{}, fmt.Errorf("find the virtual router: %w", err)
			}
			base = "http://" + gateway
		}
		c := newClient(base)
		defer c.close()
		res, err := tree(ctx, c, "/latest", session{})
		res.Metadata.Datasource = name
		return res, err
	}}}, nil
}

// A session is how a service gives tokens; the zero session is none.
type session struct{ path, header string }

// isToken holds for what can be sent in a header.
var isToken = regexp.MustCompile(`^[!-~]{1,999}$`)

// begin gets a token and adds it to the client's headers. A service that knows
// no tokens, or gives none, is asked without.
func (s session) begin(ctx context.Context, c *client) error {
	if s.path == "" {
		return nil
	}
	c.header.Set(s.header+"-ttl-seconds", tokenLife)
	token, err := c.do(ctx, http.MethodPut, s.path)
	c.header.Del(s.header + "-ttl-seconds")
	var status *statusError
	switch {
	case errors.As(err, &status) && status.code < 500, errors.Is(err, ErrAbsent):
		return nil
	case err != nil:
		return fmt.Errorf("session token: %w", err)
	}
	if text := strings.TrimSpace(string(token)); isToken.MatchString(text) {
		c.header.Set(s.header, text)
	}
	return nil
}

// tree reads metadata that is a tree of small texts.
func tree(ctx context.Context, c *client, root string, s session) (datasource.Result, error) {
	if err := s.begin(ctx, c); err != nil {
		return datasource.Result{}, err
	}
	id, err := c.get(ctx, root+"/meta-data/instance-id")
	if err != nil {
		return datasource.Result{}, err
	}
	var res datasource.Result
	m := &res.Metadata
	if m.InstanceID = strings.TrimSpace(string(id)); len(strings.Fields(m.InstanceID)) != 1 {
		return datasource.Result{}, fmt.Errorf("%s%s/meta-data/instance-id: not an instance's id", c.base, root)
	}

	var errs []error
	for _, file := range []string{"local-hostname", "hostname"} {
		name, err := c.getOptional(ctx, root+"/meta-data/"+file)
		errs = append(errs, err)
		if m.Hostname == "" {
			// Several names may be given, separated by blanks.
			name, _, _ := strings.Cut(strings.TrimSpace(string(name)), " ")
			errs = append(errs, datasource.SetHostname(m, name))
		}
		if m.Hostname != "" {
			break
		}
	}
	errs = append(errs, treeKeys(ctx, c, root, m))
	res.UserData, err = c.getOptional(ctx, root+"/user-data")
	return res, errors.Join(append(errs, err)...)
}

// keyIndex is an entry of the list of keys: "0=name".
var keyIndex = regexp.MustCompile(`^(\d+)=`)

// treeKeys reads the public keys: a list of them, or the keys themselves.
func treeKeys(ctx context.Context, c *client, root string, m *osconfig.Metadata) error {
	list, err := c.getOptional(ctx, root+"/meta-data/public-keys/")
	if err != nil {
		return err
	}
	for _, line := range datasource.Lines(string(list)) {
		index := keyIndex.FindStringSubmatch(line)
		if index == nil {
			m.PublicKeys = append(m.PublicKeys, line)
			continue
		}
		key, err := c.getOptional(ctx, root+"/meta-data/public-keys/"+index[1]+"/openssh-key")
		if err != nil {
			return err
		}
		m.PublicKeys = append(m.PublicKeys, datasource.Lines(string(key))...)
	}
	return nil
}
