package osconfig

import (
	"bytes"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A Change is a key whose value is not the default.
type Change struct {
	Key string `json:"key"`
	// Value and Default are in YAML, on one line; Default is empty where
	// nothing is set by default.
	Value   string `json:"value"`
	Default string `json:"default,omitempty"`
	// Source and Line are where the value was set.
	Source string `json:"source"`
	Line   int    `json:"line,omitempty"`
}

// Diff returns what differs from the defaults, sorted by key.
func (w View) Diff(c Config, origins Origins) []Change {
	var changes []Change
	for _, key := range slices.Sorted(maps.Keys(origins)) {
		plain := View{Private: true}
		if is, was := plain.line(c, key), plain.line(Defaults(), key); is != was {
			changes = append(changes, Change{
				Key: key, Value: w.line(c, key), Default: was,
				Source: origins[key].Source, Line: origins[key].Line,
			})
		}
	}
	return changes
}

// line returns the value of a key on one line.
func (w View) line(c Config, key string) string {
	n, err := w.node(c, key)
	if err != nil || n == nil || n.Kind == yaml.ScalarNode && n.Value == "" {
		return ""
	}
	flow(n)
	text, err := encodeNode(n)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(bytes.ReplaceAll(text, []byte("\n"), []byte(" "))))
}

func flow(n *yaml.Node) {
	n.Style = yaml.FlowStyle
	if n.Kind == yaml.ScalarNode {
		n.Style = 0
		if strings.Contains(n.Value, "\n") {
			n.Style = yaml.DoubleQuotedStyle
		}
	}
	for _, child := range n.Content {
		flow(child)
	}
}
