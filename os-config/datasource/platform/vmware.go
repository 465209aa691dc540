package platform

import (
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	osconfig "github.com/bulkhead-os/bulkhead/os-config"
	"github.com/bulkhead-os/bulkhead/os-config/datasource"
	"github.com/bulkhead-os/bulkhead/os-config/datasource/netdata"
)

// vmware is what vSphere's administrator set for the machine: guestinfo
// variables, and the properties of the OVF that it was made from, which come
// through a variable too or on an optical disk.
func vmware(name, _ string, m Machine) ([]Source, error) {
	variables := Source{Name: name, Place: "guestinfo", Fetch: func(ctx context.Context) (datasource.Result, error) {
		return guestinfo(ctx, name, m.Guestinfo)
	}}
	disk := Source{Name: name, Place: "ovf-env.xml", Disk: &Disk{Optical: true, Marker: "ovf-env.xml", Read: func(files datasource.Files) (datasource.Result, error) {
		text, err := files("ovf-env.xml")
		if err != nil {
			return datasource.Result{}, err
		}
		properties, err := ovfProperties(text)
		if err != nil {
			return datasource.Result{}, err
		}
		return vmwareResult(name, func(key string) string { return properties[key] })
	}}}
	return []Source{variables, disk}, nil
}

func guestinfo(ctx context.Context, name string, read func(context.Context, string) (string, error)) (datasource.Result, error) {
	var errs []error
	get := func(key string) string {
		value, err := read(ctx, key)
		// The same fault would follow for every key.
		if err != nil && len(errs) == 0 {
			errs = append(errs, fmt.Errorf("guestinfo.%s: %w", key, err))
		}
		return value
	}
	env := get("ovfEnv")
	if len(errs) > 0 {
		return datasource.Result{}, fmt.Errorf("%w: %w", ErrAbsent, errs[0])
	}
	var properties map[string]string
	if env != "" {
		var err error
		properties, err = ovfProperties([]byte(env))
		errs = append(errs, err)
	}
	res, err := vmwareResult(name, func(key string) string { return cmp.Or(get(key), properties[key]) })
	if err = errors.Join(append(errs, err)...); err == nil && res.Empty() {
		err = ErrAbsent
	}
	return res, err
}

// ovfProperties returns the properties of an OVF environment, without the
// "guestinfo." that some have in front.
func ovfProperties(text []byte) (map[string]string, error) {
	var env struct {
		Section struct {
			Property []struct {
				Key   string `xml:"key,attr"`
				Value string `xml:"value,attr"`
			}
		} `xml:"PropertySection"`
	}
	if err := xml.Unmarshal(text, &env); err != nil {
		return nil, fmt.Errorf("OVF environment: %w", err)
	}
	properties := make(map[string]string, len(env.Section.Property))
	for _, p := range env.Section.Property {
		properties[strings.TrimPrefix(p.Key, "guestinfo.")] = p.Value
	}
	return properties, nil
}

// vmwareResult reads the variables of cloud-init's VMware and OVF sources and
// of RancherOS:
// https://docs.cloud-init.io/en/latest/reference/datasources/vmware.html
func vmwareResult(name string, get func(key string) string) (datasource.Result, error) {
	res := datasource.Result{Metadata: osconfig.Metadata{Datasource: name}}
	var errs []error
	// decoded returns a variable whose encoding another one names.
	decoded := func(key string, encodings ...string) []byte {
		var encoding string
		for _, k := range encodings {
			encoding = cmp.Or(encoding, get(k))
		}
		data, err := decodeText(get(key), encoding)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", key, err))
		}
		return data
	}

	var meta struct {
		InstanceID    string                `yaml:"instance-id"`
		LocalHostname string                `yaml:"local-hostname"`
		PublicKeys    datasource.PublicKeys `yaml:"public-keys"`
		Network       yaml.Node
		NetEncoding   string `yaml:"network.encoding"`
	}
	if err := yaml.Unmarshal(decoded("metadata", "metadata.encoding"), &meta); err != nil {
		errs = append(errs, fmt.Errorf("metadata: %w", err))
	}
	m := &res.Metadata
	m.InstanceID = cmp.Or(meta.InstanceID, get("instance-id"))
	errs = append(errs, datasource.SetHostname(m, cmp.Or(meta.LocalHostname, get("hostname"))))
	if m.PublicKeys = meta.PublicKeys; m.PublicKeys == nil {
		m.PublicKeys = datasource.Lines(get("public-keys"))
	}

	res.VendorData = decoded("vendordata", "vendordata.encoding")
	res.UserData = decoded("userdata", "userdata.encoding")
	if res.UserData == nil {
		res.UserData = decoded("cloud-init.config.data", "cloud-init.config.data.encoding", "cloud-init.data.encoding")
	}
	if data := get("user-data"); res.UserData == nil && data != "" {
		res.UserData = maybeBase64([]byte(data))
	}
	if address := get("cloud-init.config.url"); res.UserData == nil && address != "" {
		res.UserData = []byte("#include\n" + address + "\n")
	}

	var err error
	if meta.Network.Kind != 0 {
		res.Network, err = vmwareNetwork(meta.Network, meta.NetEncoding)
	} else {
		res.Network, err = guestinfoNetwork(get)
	}
	res.Metadata.Datasource = name
	return res, errors.Join(append(errs, err)...)
}

// decodeText decodes "base64" and "gzip+base64", with their short forms.
func decodeText(text, encoding string) ([]byte, error) {
	if text == "" {
		return nil, nil
	}
	data := []byte(text)
	switch strings.ToLower(encoding) {
	case "":
	case "base64", "b64", "gzip+base64", "gz+base64", "gzip+b64", "gz+b64":
		var err error
		if data, err = decodeBase64(text); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("unknown encoding %.40q", encoding)
	}
	if strings.HasPrefix(string(data), "\x1f\x8b") {
		return osconfig.Gunzip(data)
	}
	return data, nil
}

// vmwareNetwork reads the network of cloud-init's metadata: keys, or a text
// that holds them.
func vmwareNetwork(n yaml.Node, encoding string) (netdata.Network, error) {
	if n.Kind == yaml.ScalarNode {
		text, err := decodeText(n.Value, encoding)
		if err != nil {
			return netdata.Network{}, fmt.Errorf("network: %w", err)
		}
		return netdata.CloudInit(text)
	}
	text, err := yaml.Marshal(&n)
	if err != nil {
		return netdata.Network{}, fmt.Errorf("network: %w", err)
	}
	return netdata.CloudInit(text)
}

// maxNumbered bounds how many variables with a number there may be of a kind.
const maxNumbered = 32

// guestinfoNetwork reads RancherOS's variables for the network.
func guestinfoNetwork(get func(key string) string) (netdata.Network, error) {
	var b netdata.Builder
	numbered := func(format string, args ...any) (values []string) {
		for n := range maxNumbered {
			value := get(fmt.Sprintf(format, append(args, n)...))
			if value == "" {
				break
			}
			values = append(values, value)
		}
		return values
	}
	b.Nameservers(numbered("dns.server.%d")...)
	b.Search(numbered("dns.domain.%d")...)
	for n := range maxNumbered {
		variable := func(key string) string { return get(fmt.Sprintf("interface.%d.%s", n, key)) }
		name, mac, dhcp := variable("name"), variable("mac"), variable("dhcp")
		addresses := numbered("interface.%d.ip.%d.address", n)
		if name == "" && mac == "" && dhcp == "" && len(addresses) == 0 {
			break
		}
		if name == "" && mac == "" {
			b.Problem("interface.%d: expected a name or mac", n)
			continue
		}
		i := b.Interface(cmp.Or(name, mac))
		if i == nil {
			continue
		}
		if mac != "" {
			b.MatchMAC(i, mac)
		}
		i.DHCP = dhcp == "yes" || dhcp == "true"
		for _, a := range addresses {
			b.Address(i, a, "")
		}
		for r := range maxNumbered {
			gateway, to := variable(fmt.Sprintf("route.%d.gateway", r)), variable(fmt.Sprintf("route.%d.destination", r))
			if gateway == "" && to == "" {
				break
			}
			b.Route(i, netdata.Route{To: cmp.Or(to, "default"), Via: gateway})
		}
	}
	return b.Network()
}
