package osconfig

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A Hostname is a host name, with or without domain.
type Hostname string

// setText takes RFC 1123 §2.1 plus underscores, which people use.
func (h *Hostname) setText(text string) error {
	name := strings.TrimSuffix(text, ".")
	// 64 bytes is what sethostname(2) takes.
	good := len(text) <= 64
	for label := range strings.SplitSeq(name, ".") {
		good = good && len(label) <= 63 && madeOf(label, "_-") && label[0] != '-' && label[len(label)-1] != '-'
	}
	if !good {
		return errors.New("expected a host name: letters, digits and hyphens, at most 64")
	}
	*h = Hostname(name)
	return nil
}

// ParseHostname checks a host name that comes from elsewhere.
func ParseHostname(text string) (Hostname, error) {
	var h Hostname
	err := h.setText(text)
	return h, err
}

// Short returns the name without its domain.
func (h Hostname) Short() string {
	short, _, _ := strings.Cut(string(h), ".")
	return short
}

// An Address is an IP address.
type Address string

func (a *Address) setText(text string) error {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return errors.New("expected an IP address")
	}
	*a = Address(addr.String())
	return nil
}

// A CIDR is an IP address with the length of its network's prefix.
type CIDR string

func (c *CIDR) setText(text string) error {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return errors.New("expected an IP address with the length of its network, such as 10.0.0.2/24")
	}
	*c = CIDR(prefix.String())
	return nil
}

// A Host is a host name or an IP address.
type Host string

func (h *Host) setText(text string) error {
	var addr Address
	if addr.setText(text) == nil {
		*h = Host(addr)
		return nil
	}
	var name Hostname
	if name.setText(text) != nil {
		return errors.New("expected a host name or an IP address")
	}
	*h = Host(name)
	return nil
}

// An MTU is the largest packet of an interface, in bytes.
type MTU int

func (m *MTU) setText(text string) error {
	n, ok := number(text, 68, 65536)
	if !ok {
		return errors.New("expected a size of packets in bytes, 68 to 65536")
	}
	*m = MTU(n)
	return nil
}

// A Domain is a name that others end with.
type Domain string

func (d *Domain) setText(text string) error {
	var name Hostname
	if new(Address).setText(text) == nil || name.setText(text) != nil {
		return errors.New("expected a domain such as example.org; addresses of name servers belong to nameservers")
	}
	*d = Domain(name)
	return nil
}

// A LinkName is the name of an interface.
type LinkName string

func (n *LinkName) setText(text string) error {
	if !madeOf(text, "._-@") || len(text) > maxLinkName {
		return fmt.Errorf("expected a name of at most %d letters, digits, dots and hyphens", maxLinkName)
	}
	*n = LinkName(text)
	return nil
}

// maxLinkName is how long the kernel lets it be (IFNAMSIZ).
const maxLinkName = 15

// An InterfaceKey says which interfaces are meant: a name or a pattern, or
// "mac=" with an address, "driver=" with a kernel module, or patterns of these.
type InterfaceKey string

func (i *InterfaceKey) setText(text string) error {
	of, value, is := strings.Cut(text, "=")
	extra := "._-:@*?[]^"
	if !is {
		of, value = "", text
	} else if of == "mac" {
		extra = ":-*?"
	}
	switch _, err := path.Match(value, ""); {
	case of != "" && of != "mac" && of != "driver" || !madeOf(value, extra):
		return errors.New("expected the name of an interface, a pattern such as eth*, mac=52:54:00:12:34:56, or driver=virtio_net")
	case err != nil:
		return errors.New("the pattern's brackets are not closed")
	case of == "" && len(text) > maxLinkName && !strings.ContainsAny(text, "*?["):
		return fmt.Errorf("names of interfaces have at most %d characters", maxLinkName)
	}
	*i = InterfaceKey(text)
	return nil
}

// A VLAN is a virtual network on an interface.
type VLAN struct {
	ID int
	// Name of its interface; empty for the interface's with "." and the number.
	Name string
}

// VLANs are written "100,200:name".
type VLANs []VLAN

func (l *VLANs) setText(text string) error {
	var list VLANs
	for part := range strings.SplitSeq(text, ",") {
		id, name, named := strings.Cut(strings.TrimSpace(part), ":")
		n, ok := number(id, 1, 4094)
		if !ok || named && (!madeOf(name, "._-") || len(name) > 15) {
			return errors.New("expected numbers from 1 to 4094, with or without a name: 100,200:guests")
		}
		list = append(list, VLAN{n, name})
	}
	*l = list
	return nil
}

// String returns the notation in a configuration.
func (l VLANs) String() string {
	parts := make([]string, len(l))
	for i, v := range l {
		parts[i] = strconv.Itoa(v.ID)
		if v.Name != "" {
			parts[i] += ":" + v.Name
		}
	}
	return strings.Join(parts, ",")
}

// A URL is an address on the web.
type URL string

func (u *URL) setText(text string) error {
	if parsed, err := url.Parse(text); err != nil || parsed.Scheme != "http" && parsed.Scheme != "https" || parsed.Host == "" {
		return errors.New("expected an address that begins with http:// or https://")
	}
	*u = URL(text)
	return nil
}

// datasources are the names of DatasourceRef, of RancherOS and of cloud-init.
// os-config/datasource/platform has what they stand for.
var datasources = []string{
	"*", "aliyun", "azure", "cidata", "cloudstack", "cmdline", "config-2", "configdrive", "digitalocean", "ec2",
	"equinix", "exoscale", "file", "gce", "hetzner", "nocloud", "nocloud-net", "none", "openstack", "oracle", "ovf",
	"packet", "proxmox", "scaleway", "tftp", "url", "vmware", "vultr",
}

// A DatasourceRef names a place of user data: "name" or "name:argument". The
// name may be in upper or lower case: cloud-init writes "Ec2".
type DatasourceRef string

func (r *DatasourceRef) setText(text string) error {
	name, arg, _ := strings.Cut(text, ":")
	name = strings.ToLower(name)
	if !slices.Contains(datasources, name) {
		if near := nearest(name, datasources); near != "" {
			return errors.New("unknown data source; did you mean " + near + "?")
		}
		return errors.New("unknown data source; there are " + strings.Join(datasources, ", "))
	}
	switch {
	case name == "url" && new(URL).setText(arg) != nil:
		return errors.New("expected url:https://…")
	case name == "file" && new(AbsPath).setText(arg) != nil:
		return errors.New("expected file:/path")
	case name == "tftp" && !strings.Contains(arg, "/"):
		return errors.New("expected tftp:HOST/PATH")
	}
	*r = DatasourceRef(text)
	return nil
}

// Split returns name and argument.
func (r DatasourceRef) Split() (name, arg string) {
	name, arg, _ = strings.Cut(string(r), ":")
	return name, arg
}

// ExtraHosts are lines for /etc/hosts, "NAME:ADDRESS": a list or a map.
type ExtraHosts []string

func (e *ExtraHosts) setNode(d *decoder, n *yaml.Node, key string) bool {
	if n.Kind != yaml.MappingNode {
		list, ok := d.texts(n, key)
		if ok {
			*e = list
		}
		return ok
	}
	set, ok := d.assignments(n, key)
	if !ok {
		return false
	}
	*e = nil
	for _, a := range set {
		if a.value != nil {
			*e = append(*e, a.name+":"+*a.value)
		}
	}
	return true
}
