package osconfig

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"go.yaml.in/yaml/v3"
)

// Set returns a cloud-config in which a key has another value, written in
// YAML. All other lines stay as they are, with comments and order. A value
// that its key does not take is an error.
func Set(text []byte, key, value string) ([]byte, error) {
	parts, t, err := proper(key)
	if err != nil {
		return nil, err
	}
	if len(parts) == 0 {
		return nil, errors.New("expected a key")
	}
	n, err := valueNode(t, value)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	edited, err := replaceKey(text, parts, n)
	if err != nil {
		return nil, err
	}
	return edited, mistakes(Introduced(text, edited))
}

// Delete returns a cloud-config without a key; above it goes what is empty
// then. A key that is not there is no error.
func Delete(text []byte, key string) ([]byte, error) {
	parts, _, err := proper(key)
	if err != nil {
		return nil, err
	}
	if len(parts) == 0 {
		return nil, errors.New("expected a key")
	}
	return replaceKey(text, parts, nil)
}

// MergeText returns a cloud-config with all that another one sets. Maps are
// merged, everything else is replaced. A mistake in either is an error and
// nothing is merged.
func MergeText(text, more []byte) ([]byte, error) {
	var cfg Config
	if err := mistakes(cfg.Merge("input", more)); err != nil {
		return nil, err
	}
	root, _ := new(decoder).parse(more)
	if root == nil {
		return text, nil
	}
	edited, err := mergeNodes(text, nil, reflect.TypeFor[Config](), root)
	if err != nil {
		return nil, err
	}
	return edited, mistakes(Introduced(text, edited))
}

func mergeNodes(text []byte, path []string, t reflect.Type, n *yaml.Node) ([]byte, error) {
	var d decoder
	pairs, _ := d.pairs(n, "", 0)
	for _, p := range pairs {
		name, below := p.name, reflect.Type(nil)
		if t.Kind() == reflect.Struct {
			keys := d.keysOf(t)
			index, known := keys.byName[p.name]
			if !known {
				continue // told as a mistake
			}
			name, below = keys.names[index], t.Field(index).Type
		} else {
			below = t.Elem()
		}
		var err error
		at := append(slices.Clip(path), name)
		value := resolve(p.value)
		if mergeable := (below.Kind() == reflect.Struct || below.Kind() == reflect.Map) && !isLeaf(reflect.New(below).Elem()); mergeable && value.Kind == yaml.MappingNode {
			text, err = mergeNodes(text, at, below, value)
		} else {
			var copied *yaml.Node
			if copied, err = plain(value); err == nil {
				text, err = replaceKey(text, at, copied)
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return text, nil
}

// plain returns a copy of a node without anchors and aliases, which mean
// nothing in another file. Aliases may repeat each other without end.
func plain(n *yaml.Node) (*yaml.Node, error) {
	left := maxNodes
	c := expand(n, &left)
	if left < 0 {
		return nil, errors.New("too large; are there aliases of aliases?")
	}
	return c, nil
}

func expand(n *yaml.Node, left *int) *yaml.Node {
	n = resolve(n)
	c := *n
	c.Anchor, c.Content = "", nil
	for _, child := range n.Content {
		if *left--; *left < 0 {
			break
		}
		c.Content = append(c.Content, expand(child, left))
	}
	return &c
}

// valueNode reads a value. What shall be a text needs no quotes, whatever it
// looks like.
func valueNode(t reflect.Type, value string) (*yaml.Node, error) {
	v := reflect.New(t)
	_, isText := v.Interface().(textValue)
	switch {
	case isText && t.Kind() != reflect.Uint16 && t.Kind() != reflect.Int, t.Kind() == reflect.String:
		return textNode(value), nil
	}
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(value), &doc); err != nil {
		_, _, why := syntaxError([]byte(value), err)
		return nil, fmt.Errorf("not valid YAML: %s", why)
	}
	if len(doc.Content) == 0 {
		return nil, errors.New("the value is empty; to take a key away use delete")
	}
	return plain(doc.Content[0])
}

// Introduced returns the problems that one text has and an older one has not.
func Introduced(old, edited []byte) []Problem {
	var before, after Config
	had := make(map[string]bool)
	for _, p := range before.Merge("", old) {
		had[p.Key+"\x00"+p.Text] = true
	}
	return slices.DeleteFunc(after.Merge("", edited), func(p Problem) bool { return had[p.Key+"\x00"+p.Text] })
}

// mistakes returns the errors among problems, without positions in a text
// that nobody has seen.
func mistakes(problems []Problem) error {
	var errs []error
	for _, p := range problems {
		if p.Severity != Error {
			continue
		}
		text := p.Text
		if p.Key != "" {
			text = p.Key + ": " + text
		}
		if p.Source != "" {
			text = p.String()
		}
		errs = append(errs, errors.New(text))
	}
	return errors.Join(errs...)
}
