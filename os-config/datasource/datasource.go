// Package datasource reads what a platform gives a machine at its birth: user
// data and metadata. It only parses; finding and mounting the place where the
// data lies, and acting on it, is the cloud-init service's.
package datasource

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

// A Result is what a datasource holds. UserData is nil when it has none.
type Result struct {
	Metadata osconfig.Metadata
	UserData []byte
}

// A Datasource is a file system whose label says what it is.
type Datasource struct {
	Label string
	// Read returns what is right together with an error about the rest.
	Read func(fsys fs.FS) (Result, error)
}

// Disks are the kinds of configuration disk, the preferred first.
func Disks() []Datasource {
	return []Datasource{
		{"config-2", ConfigDrive},
		{"cidata", NoCloud},
	}
}

// ConfigDrive reads OpenStack's configuration drive, version 2:
// https://docs.openstack.org/nova/latest/user/metadata.html#config-drives
func ConfigDrive(fsys fs.FS) (Result, error) {
	res := Result{Metadata: osconfig.Metadata{Datasource: "config-2"}}
	userData, err := readOptional(fsys, "openstack/latest/user_data")
	errs := []error{err}
	res.UserData = userData

	const file = "openstack/latest/meta_data.json"
	text, err := readOptional(fsys, file)
	errs = append(errs, err)
	if text == nil {
		return res, errors.Join(errs...)
	}
	var meta struct {
		UUID       string            `json:"uuid"`
		Hostname   string            `json:"hostname"`
		Name       string            `json:"name"`
		PublicKeys map[string]string `json:"public_keys"`
	}
	if err := json.Unmarshal(text, &meta); err != nil {
		errs = append(errs, fmt.Errorf("%s: %w", file, err))
	}
	res.Metadata.InstanceID = meta.UUID
	errs = append(errs, setHostname(&res.Metadata, file, cmp.Or(meta.Hostname, meta.Name)))
	for _, name := range slices.Sorted(maps.Keys(meta.PublicKeys)) {
		res.Metadata.PublicKeys = append(res.Metadata.PublicKeys, lines(meta.PublicKeys[name])...)
	}
	return res, errors.Join(errs...)
}

// NoCloud reads cloud-init's seed disk:
// https://docs.cloud-init.io/en/latest/reference/datasources/nocloud.html
func NoCloud(fsys fs.FS) (Result, error) {
	res := Result{Metadata: osconfig.Metadata{Datasource: "cidata"}}
	userData, err := readOptional(fsys, "user-data")
	errs := []error{err}
	res.UserData = userData

	const file = "meta-data"
	text, err := readOptional(fsys, file)
	errs = append(errs, err)
	var meta struct {
		InstanceID    string     `yaml:"instance-id"`
		LocalHostname string     `yaml:"local-hostname"`
		Hostname      string     `yaml:"hostname"`
		PublicKeys    publicKeys `yaml:"public-keys"`
	}
	if err := yaml.Unmarshal(text, &meta); err != nil {
		errs = append(errs, fmt.Errorf("%s: %w", file, err))
	}
	res.Metadata.InstanceID = meta.InstanceID
	res.Metadata.PublicKeys = meta.PublicKeys
	errs = append(errs, setHostname(&res.Metadata, file, cmp.Or(meta.LocalHostname, meta.Hostname)))
	return res, errors.Join(errs...)
}

// publicKeys are keys in any of the notations in use: a text with one key per
// line, a list of texts, or EC2's map of named keys {"0": {"openssh-key": …}}.
type publicKeys []string

// UnmarshalYAML implements yaml.Unmarshaler.
func (k *publicKeys) UnmarshalYAML(n *yaml.Node) error {
	switch n.Kind {
	case yaml.ScalarNode:
		*k = append(*k, lines(n.Value)...)
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
	return fmt.Errorf("line %d: want public keys", n.Line)
}

func setHostname(m *osconfig.Metadata, file, name string) error {
	if name == "" {
		return nil
	}
	hostname, err := osconfig.ParseHostname(name)
	if err != nil {
		return fmt.Errorf("%s: host name: %w", file, err)
	}
	m.Hostname = hostname
	return nil
}

// lines returns the lines of a text that hold something.
func lines(text string) []string {
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
