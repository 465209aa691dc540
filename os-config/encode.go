package osconfig

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A View is a way to write a configuration down.
type View struct {
	// Private shows secrets.
	Private bool
	// Only leaves out what has no origin; nil shows all that is not empty.
	Only Origins
}

// YAML writes what is at a key down; the key "" is the whole configuration.
func (w View) YAML(c Config, key string) ([]byte, error) {
	n, err := w.node(c, key)
	if err != nil {
		return nil, err
	}
	if n == nil {
		return nil, nil
	}
	if n.Kind == yaml.ScalarNode {
		return []byte(strings.TrimSuffix(n.Value, "\n") + "\n"), nil
	}
	return encodeNode(n)
}

// JSON is YAML in JSON.
func (w View) JSON(c Config, key string) ([]byte, error) {
	n, err := w.node(c, key)
	if err != nil {
		return nil, err
	}
	var value any
	if n != nil {
		if err := n.Decode(&value); err != nil {
			return nil, err
		}
	}
	text, err := json.MarshalIndent(value, "", "  ")
	return append(text, '\n'), err
}

func (w View) node(c Config, key string) (*yaml.Node, error) {
	v, key, err := lookup(c, key)
	if err != nil || !v.IsValid() {
		return nil, err
	}
	return w.encode(v, key, reflect.Value{}), nil
}

func encodeNode(n *yaml.Node) ([]byte, error) {
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(n); err != nil {
		return nil, err
	}
	return b.Bytes(), enc.Close()
}

// A noder has a notation that is not plain to see from its Go type.
type noder interface {
	node(w View) *yaml.Node
}

// encode returns the notation of v, or nil when there is nothing to show. A
// plain value that equals the one it has when nobody sets it is nothing.
func (w View) encode(v reflect.Value, key string, unset reflect.Value) *yaml.Node {
	if n, composite := w.encodeParts(v, key); composite {
		return n
	}
	if _, set := w.Only[key]; w.Only != nil && !set {
		return nil
	}
	if w.Only == nil && unset.IsValid() && reflect.DeepEqual(v.Interface(), unset.Interface()) {
		return nil
	}
	switch x := v.Interface().(type) {
	case Anything:
		return nil
	case redacted:
		if w.Private {
			return textNode(v.Interface().(interface{ Reveal() string }).Reveal())
		}
		return textNode(x.redact())
	case noder:
		return x.node(w)
	case fmt.Stringer:
		return textNode(x.String())
	}
	switch v.Kind() {
	case reflect.String:
		return textNode(v.String())
	case reflect.Bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(v.Bool())}
	case reflect.Int:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: strconv.FormatInt(v.Int(), 10)}
	case reflect.Uint16:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: strconv.FormatUint(v.Uint(), 10)}
	case reflect.Pointer:
		if v.IsNil() {
			return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}
		}
		return textNode(v.Elem().String())
	case reflect.Slice:
		list := &yaml.Node{Kind: yaml.SequenceNode}
		for i := range v.Len() {
			inner := View{Private: w.Private} // a list was set as a whole
			if n := inner.encode(v.Index(i), "", reflect.Value{}); n != nil {
				list.Content = append(list.Content, n)
			}
		}
		return list
	}
	panic("BUG: osconfig cannot encode " + v.Type().String())
}

// encodeParts encodes structs and maps, whose parts have origins of their own.
func (w View) encodeParts(v reflect.Value, key string) (n *yaml.Node, composite bool) {
	if isWhole(v) {
		return nil, false
	}
	n = &yaml.Node{Kind: yaml.MappingNode}
	switch v.Kind() {
	default:
		return nil, false
	case reflect.Struct:
		unset := newElem(v.Type())
		for i, k := range readKeys(v.Type()).fields {
			addPair(n, k.name, w.encode(v.Field(i), join(key, k.name), unset.Field(i)))
		}
	case reflect.Map:
		inner := w
		if _, set := w.Only[key]; set {
			inner.Only = nil // a map that was set as a whole
		}
		names := make([]string, 0, v.Len())
		for _, name := range v.MapKeys() {
			names = append(names, name.String())
		}
		slices.Sort(names)
		for _, name := range names {
			addPair(n, name, inner.encode(v.MapIndex(reflect.ValueOf(name)), join(key, name), reflect.Value{}))
		}
	}
	if len(n.Content) == 0 && key != "" {
		return nil, true
	}
	return n, true
}

func addPair(n *yaml.Node, name string, value *yaml.Node) {
	if value != nil {
		n.Content = append(n.Content, textNode(name), value)
	}
}

// textNode returns a scalar that is a text, whatever it looks like.
func textNode(text string) *yaml.Node {
	var n yaml.Node
	n.SetString(text)
	return &n
}

func listNode(items ...*yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle, Content: items}
}

func textsNode(texts []string) *yaml.Node {
	n := listNode()
	for _, text := range texts {
		n.Content = append(n.Content, textNode(text))
	}
	return n
}

func (c Command) node(View) *yaml.Node {
	if len(c) == 3 && c[0] == "/bin/sh" && c[1] == "-c" {
		return textNode(c[2])
	}
	return textsNode(c)
}

func (f MountFields) node(View) *yaml.Node {
	fields := []string{f.Device, f.Path, f.Type, string(f.Options), f.Dump, f.Pass}
	for len(fields) > 1 && fields[len(fields)-1] == "" {
		fields = fields[:len(fields)-1]
	}
	n := listNode()
	for _, text := range fields {
		if text == "" {
			n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"})
		} else {
			n.Content = append(n.Content, textNode(text))
		}
	}
	return n
}

func (m Mount) node(w View) *yaml.Node {
	if m.IsSwap() {
		m.Path = "none"
	}
	return MountFields(m).node(w)
}

func (g Group) node(View) *yaml.Node {
	if len(g.Members) == 0 {
		return textNode(string(g.Name))
	}
	members := listNode()
	for _, m := range g.Members {
		members.Content = append(members.Content, textNode(string(m)))
	}
	return &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{textNode(string(g.Name)), members}}
}

func (l DiskLayout) node(View) *yaml.Node {
	switch {
	case l.Remove:
		return textNode("remove")
	case len(l.Parts) == 0:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(l.Whole)}
	}
	n := listNode()
	for _, p := range l.Parts {
		size := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: strconv.Itoa(p.Percent)}
		if p.Type != "" {
			size = listNode(size, textNode(p.Type))
		}
		n.Content = append(n.Content, size)
	}
	return n
}

func (c Condition) node(w View) *yaml.Node {
	if len(c.Command) > 0 {
		return c.Command.node(w)
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(!c.Never)}
}

func (l PasswordList) node(w View) *yaml.Node {
	n := &yaml.Node{Kind: yaml.SequenceNode}
	for _, p := range l {
		password := p.Password.redact()
		switch {
		case p.Type == "RANDOM":
			password = "RANDOM"
		case w.Private:
			password = p.Password.Reveal()
		}
		n.Content = append(n.Content, textNode(string(p.Name)+":"+password))
	}
	return n
}
