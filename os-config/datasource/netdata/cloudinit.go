package netdata

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

// CloudInit reads cloud-init's network configuration, version 1 or 2, in YAML
// or JSON: https://docs.cloud-init.io/en/latest/reference/network-config.html
func CloudInit(text []byte) (Network, error) {
	var doc struct {
		Network yaml.Node
		Version int
		Config  yaml.Node
	}
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		return Network{}, osconfig.SyntaxError(text, err)
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
	case 0:
		if doc.Config.Value == "disabled" {
			return Network{}, nil
		}
	case 1:
		return version1(node)
	case 2:
		return version2(node)
	}
	return Network{}, fmt.Errorf("network configuration of version %d; expected version: 1 or version: 2", doc.Version)
}

// decode is yaml's, but for values of a wrong kind: they are left out and noted,
// and the rest counts.
func (b *Builder) decode(n *yaml.Node, into any) error {
	err := n.Decode(into)
	wrong, is := errors.AsType[*yaml.TypeError](err)
	if !is {
		return err
	}
	for _, text := range wrong.Errors {
		// yaml.v3 has no type for this: "line 3: cannot unmarshal !!str `x` into int"
		line, what := n.Line, text
		if _, err := fmt.Sscanf(text, "line %d:", &line); err == nil {
			_, what, _ = strings.Cut(text, ": ")
		}
		if strings.HasPrefix(what, "cannot unmarshal ") {
			what = "expected " + kindOf(what[strings.LastIndex(what, " ")+1:])
		}
		b.problemAt(line, "%s", what) // or else such as a key that is there twice
	}
	return nil
}

// kindOf is what people call the values of a type of Go.
func kindOf(goType string) string {
	switch goType = strings.TrimLeft(goType, "*"); {
	case goType == "bool":
		return "true or false"
	case goType == "int":
		return "a whole number"
	case goType == "string":
		return "a text"
	case strings.HasPrefix(goType, "[]"):
		return "a list"
	}
	return "keys with values"
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
			b.problemAt(n.Line, "%s: %.40q has no effect here", where, key)
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

// parameters are those of a bond or bridge.
type parameters map[string]yaml.Node

// bond returns the kernel's options of a bond.
func (p parameters) bond(b *Builder, name string) map[string]string {
	opts := make(map[string]string, len(p))
	for _, key := range slices.Sorted(maps.Keys(p)) {
		n := p[key]
		var values list
		if err := b.decode(&n, &values); err != nil {
			b.Problem("%s: %.40q: %v", name, key, err)
			continue
		}
		opts[bondOption(key)] = strings.Join(values, ",")
	}
	return opts
}

// bridgeOptions are ip-link(8)'s names of a bridge's parameters. Those of
// seconds it wants in hundredths.
var bridgeOptions = map[string]struct {
	name  string
	times int
}{
	"stp": {"stp_state", 1}, "priority": {"priority", 1}, "bridgeprio": {"priority", 1},
	"ageing-time": {"ageing_time", 100}, "ageing": {"ageing_time", 100}, "forward-delay": {"forward_delay", 100},
	"fd": {"forward_delay", 100}, "hello-time": {"hello_time", 100}, "hello": {"hello_time", 100},
	"max-age": {"max_age", 100}, "maxage": {"max_age", 100},
}

// bridge makes an interface a bridge with these parameters.
func (p parameters) bridge(b *Builder, name string, i *Interface) {
	i.Bridge = "true"
	var options string
	for _, key := range slices.Sorted(maps.Keys(p)) {
		option, known := bridgeOptions[strings.TrimPrefix(key, "bridge_")]
		value := p[key].Value
		switch n, err := strconv.Atoi(value); {
		case !known:
			b.problemAt(p[key].Line, "%s: %.40q of a bridge has no effect here", name, key)
		case option.name == "stp_state" && isTrue(value):
			options += " stp_state 1"
		case option.name == "stp_state":
			options += " stp_state 0"
		case err != nil || n < 0:
			b.problemAt(p[key].Line, "%s: %.40q: expected a whole number", name, key)
		default:
			options += fmt.Sprintf(" %s %d", option.name, n*option.times)
		}
	}
	if options != "" {
		i.PreUp = append(i.PreUp, "ip link set $iface type bridge"+options)
	}
}

// isTrue holds for the words by which YAML 1.1 and ifupdown say yes.
func isTrue(word string) bool {
	return slices.Contains([]string{"true", "yes", "on", "1"}, strings.ToLower(word))
}
