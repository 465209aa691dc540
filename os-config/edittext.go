package osconfig

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// replaceKey sets the value at a path, or takes the path away if it is nil. It
// edits the lines concerned and proves by parsing that nothing else changed;
// where that fails it rewrites the YAML, which keeps comments and order but
// not each blank.
func replaceKey(text []byte, path []string, value *yaml.Node) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		line, _, why := syntaxError(text, err)
		return nil, fmt.Errorf("the file is not valid YAML, mend it first: line %d: %s", line, why)
	}
	if len(doc.Content) == 0 || isNull(resolve(doc.Content[0])) {
		if value == nil {
			return text, nil
		}
		added, err := encodeNode(nested(path, value))
		return append(endLine(text), added...), err
	}
	if line := secondDocument(text); line > 0 {
		return nil, fmt.Errorf("the file holds several documents, of which the first counts; take away what is below line %d first", line-1)
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("the file holds %s; expected a mapping (key: value)", kind(root))
	}
	path = asWritten(root, path)
	if value == nil {
		if path = prune(root, path); path == nil {
			return text, nil
		}
	}
	edited, err := editLines(text, root, path, value)
	if err != nil {
		return nil, err
	}
	if err := editNode(root, path, value); err != nil {
		return nil, err
	}
	var again yaml.Node
	err = yaml.Unmarshal(edited, &again)
	emptied := len(root.Content) == 0 && len(again.Content) == 0
	if err != nil || !emptied && !sameTree(&again, &doc) {
		if edited, err = encodeNode(&doc); err != nil {
			return nil, err
		}
	}
	if !Usable(edited) {
		return nil, errors.New("other lines refer to this one with * or <<; change it with an editor")
	}
	return edited, nil
}

// asWritten returns a path with the older names that a file uses.
func asWritten(root *yaml.Node, path []string) []string {
	var d decoder
	path = slices.Clone(path)
	t := reflect.TypeFor[Config]()
	for i, n := 0, root; i < len(path) && n.Kind == yaml.MappingNode; i++ {
		if t.Kind() == reflect.Struct {
			keys := d.keysOf(t)
			index, known := keys.byName[path[i]]
			if !known {
				break
			}
			if alias := keys.fields[index].alias; alias != "" && find(n, path[i]) < 0 && find(n, alias) >= 0 {
				path[i] = alias
			}
			t = t.Field(index).Type
		} else if t.Kind() == reflect.Map {
			t = t.Elem()
		}
		at := find(n, path[i])
		if at < 0 {
			break
		}
		n = n.Content[at]
	}
	return path
}

// endLine makes sure that a text ends in a line feed, in a copy.
func endLine(text []byte) []byte {
	text = bytes.Clone(text)
	if len(text) > 0 && text[len(text)-1] != '\n' {
		text = append(text, '\n')
	}
	return text
}

// nested returns {path[0]: {path[1]: … value}}.
func nested(path []string, value *yaml.Node) *yaml.Node {
	for _, name := range slices.Backward(path) {
		value = &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{textNode(name), value}}
	}
	return value
}

// find returns the index of a key's value in a mapping, or -1.
func find(n *yaml.Node, name string) int {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return i + 1
		}
	}
	return -1
}

// prune returns the path to take away so that nothing empty is left, or nil
// if there is no such path.
func prune(root *yaml.Node, path []string) []string {
	n, keep := root, 1
	for depth, name := range path {
		if n.Kind != yaml.MappingNode {
			return nil
		}
		i := find(n, name)
		if i < 0 {
			return nil
		}
		if len(n.Content) > 2 {
			keep = depth + 1
		}
		n = n.Content[i]
	}
	return path[:keep]
}

// editNode changes a tree.
func editNode(n *yaml.Node, path []string, value *yaml.Node) error {
	i := find(n, path[0])
	if i < 0 {
		n.Content = append(n.Content, textNode(path[0]), nested(path[1:], value))
		return nil
	}
	at := n.Content[i]
	switch {
	case len(path) > 1 && at.Kind == yaml.AliasNode:
		return fmt.Errorf("%s in line %d is an alias; change it with an editor", path[0], at.Line)
	case len(path) > 1 && at.Kind == yaml.MappingNode:
		return editNode(at, path[1:], value)
	case value == nil:
		n.Content = slices.Delete(n.Content, i-1, i+1)
		return nil
	}
	v := *nested(path[1:], value)
	v.LineComment = at.LineComment
	n.Content[i] = &v
	return nil
}

// editLines replaces the lines of the one entry that changes.
func editLines(text []byte, root *yaml.Node, path []string, value *yaml.Node) ([]byte, error) {
	lines := strings.SplitAfter(string(endLine(text)), "\n")
	lines = lines[:len(lines)-1] // the empty one at the end
	n, limit := root, len(lines) // a mapping, and how many lines there are up to its end
	if end := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, "...") }); end >= root.Line {
		limit = end
	}
	for ; ; path = path[1:] {
		column := n.Content[0].Column - 1
		i := find(n, path[0])
		if i < 0 {
			added, err := entryLines(path[0], nested(path[1:], value), column)
			end := entryEnd(lines, n.Content[len(n.Content)-2], limit)
			return join3(lines[:end], added, lines[end:]), err
		}
		key, at := n.Content[i-1], n.Content[i]
		if i+1 < len(n.Content) {
			limit = n.Content[i+1].Line - 1
		}
		if len(path) > 1 && at.Kind == yaml.MappingNode && at.Style&yaml.FlowStyle == 0 && len(at.Content) > 0 {
			n = at
			continue
		}
		end := entryEnd(lines, key, limit)
		entry := &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{textNode(key.Value), copyTree(at)}}
		if err := editNode(entry, path, value); err != nil {
			return nil, err
		}
		if len(entry.Content) == 0 {
			return join3(lines[:key.Line-1], nil, lines[end:]), nil
		}
		added, err := entryLines(key.Value, entry.Content[1], column)
		return join3(lines[:key.Line-1], added, lines[end:]), err
	}
}

// entryEnd returns how many lines there are up to the end of a key's entry.
// Blank lines at its end and comments that are not indented below the key
// belong to what follows.
func entryEnd(lines []string, key *yaml.Node, limit int) int {
	limit = min(limit, len(lines))
	for ; limit > key.Line; limit-- {
		line := strings.TrimRight(lines[limit-1], "\r\n")
		bare := strings.TrimLeft(line, " \t")
		if bare != "" && (bare[0] != '#' || len(line)-len(bare) >= key.Column) {
			break
		}
	}
	return max(limit, key.Line)
}

// entryLines returns the lines of an entry.
func entryLines(name string, value *yaml.Node, column int) ([]string, error) {
	text, err := encodeNode(&yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{textNode(name), value}})
	var lines []string
	for line := range strings.Lines(string(text)) {
		if line != "\n" {
			line = strings.Repeat(" ", column) + line
		}
		lines = append(lines, line)
	}
	return lines, err
}

func join3(before, between, after []string) []byte {
	return []byte(strings.Join(slices.Concat(before, between, after), ""))
}

// copyTree copies a tree but not what its aliases refer to.
func copyTree(n *yaml.Node) *yaml.Node {
	c := *n
	c.Content = nil
	for _, child := range n.Content {
		c.Content = append(c.Content, copyTree(child))
	}
	return &c
}

// sameTree reports whether two trees are the same but for comments and the way
// they are written. Like names refer to like anchors.
func sameTree(a, b *yaml.Node) bool {
	if a.Kind != b.Kind || a.Anchor != b.Anchor || a.Value != b.Value || len(a.Content) != len(b.Content) {
		return false
	}
	if a.Kind == yaml.ScalarNode && a.ShortTag() != b.ShortTag() {
		return false
	}
	for i := range a.Content {
		if !sameTree(a.Content[i], b.Content[i]) {
			return false
		}
	}
	return true
}
