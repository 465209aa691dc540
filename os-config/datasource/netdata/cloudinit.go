package netdata

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// CloudInit reads cloud-init's network configuration, version 1 or 2, in YAML
// or JSON: https://docs.cloud-init.io/en/latest/reference/network-config.html
func CloudInit(text []byte) (Network, error) {
	var doc struct {
		Network yaml.Node
		Version int
	}
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		return Network{}, err
	}
	if len(root.Content) == 0 {
		return Network{}, nil
	}
	node := root.Content[0]
	if err := node.Decode(&doc); err != nil {
		return Network{}, err
	}
	if inner := doc.Network; inner.Kind != 0 && doc.Version == 0 {
		node = &inner
		if err := node.Decode(&doc); err != nil {
			return Network{}, err
		}
	}
	switch doc.Version {
	case 1:
		return version1(node)
	case 2:
		return version2(node)
	}
	return Network{}, fmt.Errorf("network configuration of version %d; expected version: 1 or version: 2", doc.Version)
}

// A list is a list of texts, or words in one text.
type list []string

// UnmarshalYAML implements yaml.Unmarshaler.
func (l *list) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		*l = strings.FieldsFunc(n.Value, func(r rune) bool { return r == ' ' || r == ',' })
		return nil
	}
	return n.Decode((*[]string)(l))
}

// A rest holds the keys that a struct does not know.
type rest map[string]yaml.Node

// refuse tells the keys that have no effect here, other than the given ones,
// which are about nothing that matters here.
func (r rest) refuse(b *Builder, where string, harmless ...string) {
	for _, key := range slices.Sorted(maps.Keys(r)) {
		if !slices.Contains(harmless, key) {
			n := r[key]
			b.Problem("line %d: %s: %.40q has no effect here", n.Line, where, key)
		}
	}
}

// bondOption returns the kernel's name of a bonding option. Version 1 writes
// them as ifenslave does, version 2 as netplan.
func bondOption(name string) string {
	name = strings.TrimPrefix(strings.ReplaceAll(name, "-", "_"), "bond_")
	if kernel, ok := netplanBond[name]; ok {
		return kernel
	}
	return name
}

var netplanBond = map[string]string{
	"mii_monitor_interval":    "miimon",
	"transmit_hash_policy":    "xmit_hash_policy",
	"up_delay":                "updelay",
	"down_delay":              "downdelay",
	"arp_ip_targets":          "arp_ip_target",
	"fail_over_mac_policy":    "fail_over_mac",
	"primary_reselect_policy": "primary_reselect",
	"learn_packet_interval":   "lp_interval",
	"gratuitous_arp":          "num_grat_arp",
}

// bondOptions turns parameters into the kernel's options.
func bondOptions(params map[string]list) map[string]string {
	opts := make(map[string]string, len(params))
	for name, value := range params {
		opts[bondOption(name)] = strings.Join(value, ",")
	}
	return opts
}
