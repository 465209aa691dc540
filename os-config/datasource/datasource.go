// Package datasource reads what a platform gives a machine at its birth, in
// the two forms that many platforms share: OpenStack's and NoCloud's. It only
// parses; where the data lies, and what is done with it, is decided elsewhere.
package datasource

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	osconfig "github.com/bulkhead-os/bulkhead/os-config"
	"github.com/bulkhead-os/bulkhead/os-config/datasource/netdata"
)

// A Result is what a source holds.
type Result struct {
	Metadata osconfig.Metadata
	// UserData and VendorData are as they came; nil when there are none.
	UserData, VendorData []byte
	Network              netdata.Network
}

// Fill takes from other what r lacks.
func (r *Result) Fill(other Result) {
	r.Metadata.InstanceID = cmp.Or(r.Metadata.InstanceID, other.Metadata.InstanceID)
	r.Metadata.Hostname = cmp.Or(r.Metadata.Hostname, other.Metadata.Hostname)
	if len(r.Metadata.PublicKeys) == 0 {
		r.Metadata.PublicKeys = other.Metadata.PublicKeys
	}
	if r.UserData == nil {
		r.UserData = other.UserData
	}
	if r.VendorData == nil {
		r.VendorData = other.VendorData
	}
	if len(r.Network.Interfaces) == 0 {
		r.Network = other.Network
	}
}

// Empty reports whether there is nothing in it.
func (r *Result) Empty() bool {
	return r.UserData == nil && r.VendorData == nil && len(r.Network.Interfaces) == 0 &&
		r.Metadata.InstanceID == "" && r.Metadata.Hostname == "" && len(r.Metadata.PublicKeys) == 0
}

// Files gets a file of a source by its name, with slashes. It returns nil for
// one that does not exist.
type Files func(name string) ([]byte, error)

// FromFS returns the files of a file system.
func FromFS(fsys fs.FS) Files {
	return func(name string) ([]byte, error) { return readOptional(fsys, name) }
}

// A reader collects a Result file by file, with all mistakes.
type reader struct {
	files Files
	res   Result
	errs  []error
}

// get returns a file, nil when it is not there or cannot be read.
func (r *reader) get(name string) []byte {
	text, err := r.files(name)
	if err != nil {
		r.errs = append(r.errs, err)
	}
	return text
}

// problem notes an error about a file, if it is one.
func (r *reader) problem(file string, err error) {
	if err != nil {
		r.errs = append(r.errs, fmt.Errorf("%s: %w", file, err))
	}
}

func (r *reader) result() (Result, error) { return r.res, errors.Join(r.errs...) }

// OpenStack reads a configuration drive, version 2, or OpenStack's metadata
// service, which has the same files:
// https://docs.openstack.org/nova/latest/user/metadata.html
//
// It returns what is right together with an error about the rest.
func OpenStack(name string, files Files) (Result, error) {
	r := reader{files: files, res: Result{Metadata: osconfig.Metadata{Datasource: name}}}
	r.res.UserData = r.get("openstack/latest/user_data")
	r.openStackMetadata("openstack/latest/meta_data.json")

	const networkFile = "openstack/latest/network_data.json"
	if text := r.get(networkFile); text != nil {
		var err error
		r.res.Network, err = netdata.OpenStack(text)
		r.problem(networkFile, err)
	}
	const vendorFile = "openstack/latest/vendor_data.json"
	if text := r.get(vendorFile); text != nil {
		var err error
		r.res.VendorData, err = vendorData(text)
		r.problem(vendorFile, err)
	}
	return r.result()
}

func (r *reader) openStackMetadata(file string) {
	text := r.get(file)
	if text == nil {
		return
	}
	var meta struct {
		UUID       string            `json:"uuid"`
		Hostname   string            `json:"hostname"`
		Name       string            `json:"name"`
		PublicKeys map[string]string `json:"public_keys"`
		// Network is how the network was described before network_data.json;
		// Proxmox still does.
		Network struct {
			Path string `json:"content_path"`
		} `json:"network_config"`
	}
	r.problem(file, json.Unmarshal(text, &meta))
	m := &r.res.Metadata
	m.InstanceID = meta.UUID
	r.problem(file, SetHostname(m, cmp.Or(meta.Hostname, meta.Name)))
	for _, name := range slices.Sorted(maps.Keys(meta.PublicKeys)) {
		m.PublicKeys = append(m.PublicKeys, Lines(meta.PublicKeys[name])...)
	}
	if meta.Network.Path != "" {
		file := path.Join("openstack", path.Clean("/"+meta.Network.Path))
		var err error
		r.res.Network, err = netdata.Interfaces(r.get(file))
		r.problem(file, err)
	}
}

// vendorData returns what vendor_data.json has for cloud-init: a text, or a
// list of texts, which is made an archive.
func vendorData(text []byte) ([]byte, error) {
	var keyed struct {
		CloudInit json.RawMessage `json:"cloud-init"`
	}
	if err := json.Unmarshal(text, &keyed); err == nil {
		if text = keyed.CloudInit; text == nil {
			return nil, nil
		}
	}
	var one string
	if err := json.Unmarshal(text, &one); err == nil {
		return []byte(one), nil
	}
	var several []string
	if err := json.Unmarshal(text, &several); err != nil {
		return nil, err
	}
	// JSON is YAML.
	return append([]byte("#cloud-config-archive\n"), text...), nil
}

// NoCloud reads cloud-init's seed, from a disk or a web server:
// https://docs.cloud-init.io/en/latest/reference/datasources/nocloud.html
//
// It returns what is right together with an error about the rest.
func NoCloud(name string, files Files) (Result, error) {
	r := reader{files: files, res: Result{Metadata: osconfig.Metadata{Datasource: name}}}
	r.res.UserData = r.get("user-data")
	r.res.VendorData = r.get("vendor-data")

	const file = "meta-data"
	var meta struct {
		InstanceID    string     `yaml:"instance-id"`
		LocalHostname string     `yaml:"local-hostname"`
		Hostname      string     `yaml:"hostname"`
		PublicKeys    PublicKeys `yaml:"public-keys"`
	}
	r.problem(file, yaml.Unmarshal(r.get(file), &meta))
	r.res.Metadata.InstanceID = meta.InstanceID
	r.res.Metadata.PublicKeys = meta.PublicKeys
	r.problem(file, SetHostname(&r.res.Metadata, cmp.Or(meta.LocalHostname, meta.Hostname)))

	const networkFile = "network-config"
	if text := r.get(networkFile); text != nil {
		var err error
		r.res.Network, err = netdata.CloudInit(text)
		r.problem(networkFile, err)
	}
	return r.result()
}

// PublicKeys are keys in any of the notations in use: a text with one key per
// line, a list of texts, or EC2's map of named keys {"0": {"openssh-key": …}}.
type PublicKeys []string

// UnmarshalYAML implements yaml.Unmarshaler.
func (k *PublicKeys) UnmarshalYAML(n *yaml.Node) error {
	switch n.Kind {
	case yaml.ScalarNode:
		*k = append(*k, Lines(n.Value)...)
		return nil
	case yaml.SequenceNode:
		for _, item := range n.Content {
			if err := k.UnmarshalYAML(item); err != nil {
				return err
			}
		}
		return nil
	case yaml.MappingNode:
		for i := 1; i < len(n.Content); i += 2 {
			if err := k.UnmarshalYAML(n.Content[i]); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("line %d: expected public keys", n.Line)
}

// SetHostname names the machine; no name leaves it without one.
func SetHostname(m *osconfig.Metadata, name string) error {
	if name == "" {
		return nil
	}
	hostname, err := osconfig.ParseHostname(name)
	if err != nil {
		return fmt.Errorf("host name: %w", err)
	}
	m.Hostname = hostname
	return nil
}

// Lines returns the lines of a text that hold something.
func Lines(text string) []string {
	var all []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			all = append(all, line)
		}
	}
	return all
}

// readOptional returns nil for a file that does not exist.
func readOptional(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, osconfig.MaxContent+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(text) > osconfig.MaxContent {
		return nil, fmt.Errorf("%s: larger than %d MiB", name, osconfig.MaxContent>>20)
	}
	return text, nil
}
