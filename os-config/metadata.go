package osconfig

import (
	"errors"
	"fmt"
	"io/fs"
	"reflect"

	"go.yaml.in/yaml/v3"
)

// Metadata is what the platform says about the machine, as far as it is used.
// The cloud-init service stores it at layout.Metadata.
type Metadata struct {
	// Datasource is where it came from ("configdrive", "ec2").
	Datasource string   `yaml:"datasource,omitempty"`
	InstanceID string   `yaml:"instance_id,omitempty"`
	Hostname   Hostname `yaml:"hostname,omitempty"`
	PublicKeys []string `yaml:"public_keys,omitempty"`
	// RootDisk is the device that grows when rancher.resize_device names none.
	RootDisk Device `yaml:"root_disk,omitempty"`
}

// Marshal returns the text that ReadMetadata reads.
func (m Metadata) Marshal() ([]byte, error) {
	text, err := yaml.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode metadata: %w", err)
	}
	return text, nil
}

// ReadMetadata reads stored metadata. A missing file is empty metadata.
func ReadMetadata(path string) (Metadata, []Problem, error) {
	var m Metadata
	text, err := ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil, nil
	}
	if err != nil {
		return m, nil, err
	}
	d := decoder{source: path}
	if root, _ := d.parse(text); root != nil {
		d.decode(root, reflect.ValueOf(&m).Elem(), "")
	}
	return m, d.problems, nil
}
