package osconfig

import (
	"encoding/base64"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	// maxNodes bounds the work that one source can cause through aliases
	// that repeat other aliases.
	maxNodes = 200_000
	// maxProblems is how many mistakes of one source are told.
	maxProblems = 50
	// maxMerge is how deep "<<" may nest.
	maxMerge = 16
)

// A decoder walks the YAML of one source along the Go types and stores what
// is right. yaml.v3's own decoder cannot: it gives no columns, and a mistake
// leaves no telling which part of the rest it stored.
//
// Decoding several sources one after the other into the same value merges
// them: maps and structs key by key, everything else replaced.
type decoder struct {
	source   string
	problems []Problem
	nodes    int
}

// spend counts a node and reports whether it may still be looked at.
func (d *decoder) spend(n *yaml.Node, key string) bool {
	d.nodes++
	if d.nodes == maxNodes+1 {
		d.problem(n, key, "too large, the rest is ignored; are there aliases of aliases?")
	}
	return d.nodes <= maxNodes
}

// problem notes a mistake at n, which may be nil.
func (d *decoder) problem(n *yaml.Node, key, format string, args ...any) {
	if len(d.problems) == maxProblems {
		d.problems = append(d.problems, Problem{Source: d.source, Text: "more problems are left out"})
	}
	if len(d.problems) > maxProblems {
		return
	}
	p := Problem{Source: d.source, Key: key, Text: fmt.Sprintf(format, args...)}
	if n != nil {
		p.Line, p.Column = n.Line, n.Column
	}
	d.problems = append(d.problems, p)
}

// yamlLine finds the line in a syntax error of yaml.v3, which has no type.
var yamlLine = regexp.MustCompile(`^(?:yaml: )?line (\d+): `)

// parse returns the root mapping of a text, or nil.
func (d *decoder) parse(text []byte) *yaml.Node {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		msg, line := err.Error(), 0
		if m := yamlLine.FindStringSubmatch(msg); m != nil {
			line, _ = strconv.Atoi(m[1])
			msg = msg[len(m[0]):]
		}
		d.problem(&yaml.Node{Line: line}, "", "nothing of it applies, it is not valid YAML: %s", strings.TrimPrefix(msg, "yaml: "))
		return nil
	}
	if len(doc.Content) == 0 {
		return nil
	}
	root := resolve(doc.Content[0])
	switch {
	case isNull(root):
		return nil
	case root.Kind != yaml.MappingNode:
		d.problem(root, "", "want keys with values at the top, have %s", kind(root))
		return nil
	}
	return root
}

// A shaped value has more than one notation and reads its node itself.
type shaped interface {
	setNode(d *decoder, n *yaml.Node, key string) bool
}

// decode stores n in v, which is addressable, and reports whether all of n
// was valid. An unknown key is a problem but leaves the rest valid.
func (d *decoder) decode(n *yaml.Node, v reflect.Value, key string) bool {
	if !d.spend(n, key) {
		return false
	}
	n = resolve(n)
	if isNull(n) {
		return true
	}
	switch to := v.Addr().Interface().(type) {
	case shaped:
		return to.setNode(d, n, key)
	case textValue:
		text, ok := d.text(n, key, "a text")
		return ok && d.setText(n, to, text, key)
	}
	switch v.Kind() {
	case reflect.Struct:
		return d.decodeStruct(n, v, key)
	case reflect.Map:
		return d.decodeMap(n, v, key)
	case reflect.Slice:
		return d.decodeSlice(n, v, key)
	case reflect.String:
		text, ok := d.text(n, key, "a text")
		if ok {
			v.SetString(text)
		}
		return ok
	case reflect.Bool:
		text, ok := d.text(n, key, "true or false")
		if !ok {
			return false
		}
		b, ok := bools[strings.ToLower(text)]
		if !ok {
			d.problem(n, key, "want true or false")
			return false
		}
		v.SetBool(b)
		return true
	case reflect.Int:
		text, ok := d.text(n, key, "a whole number")
		if !ok {
			return false
		}
		i, err := strconv.ParseInt(text, 10, 32)
		if err != nil || i < 0 {
			d.problem(n, key, "want a whole number from 0")
			return false
		}
		v.SetInt(i)
		return true
	}
	panic("BUG: osconfig cannot decode " + v.Type().String())
}

// bools are YAML 1.1's words, which RancherOS took.
var bools = map[string]bool{
	"true": true, "yes": true, "on": true, "y": true,
	"false": false, "no": false, "off": false, "n": false,
}

func (d *decoder) setText(n *yaml.Node, to textValue, text, key string) bool {
	if err := to.setText(text); err != nil {
		d.problem(n, key, "%v", err)
		return false
	}
	return true
}

// text returns the text of a scalar.
func (d *decoder) text(n *yaml.Node, key, want string) (string, bool) {
	if n.Kind != yaml.ScalarNode {
		d.problem(n, key, "want %s, have %s", want, kind(n))
		return "", false
	}
	if n.ShortTag() != "!!binary" {
		return n.Value, true
	}
	data, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(n.Value), ""))
	if err != nil {
		d.problem(n, key, "not valid base64")
		return "", false
	}
	return string(data), true
}

func (d *decoder) decodeStruct(n *yaml.Node, v reflect.Value, key string) bool {
	pairs, ok := d.pairs(n, key, 0)
	known := fields(v.Type())
	for _, p := range pairs {
		path := join(key, p.name)
		index, found := known[p.name]
		if !found {
			d.unknownKey(p.key, path, p.name, known)
			continue
		}
		ok = d.decode(p.value, v.Field(index), path) && ok
	}
	return ok
}

func (d *decoder) unknownKey(n *yaml.Node, path, name string, known map[string]int) {
	switch near := nearest(name, slices.Sorted(maps.Keys(known))); {
	case notYet[path]:
		d.problem(n, path, "has no effect in this version")
	case near != "":
		d.problem(n, path, "unknown key; did you mean %s?", near)
	default:
		d.problem(n, path, "unknown key")
	}
}

func (d *decoder) decodeMap(n *yaml.Node, v reflect.Value, key string) bool {
	pairs, ok := d.pairs(n, key, 0)
	if !ok {
		return false
	}
	if v.IsNil() {
		v.Set(reflect.MakeMap(v.Type()))
	}
	for _, p := range pairs {
		// An entry with a mistake is left out; the map itself is good.
		d.decodeEntry(v, p.name, func(elem reflect.Value) bool {
			return d.decode(p.value, elem, join(key, p.name))
		})
	}
	return true
}

// decodeEntry changes one entry of a map, unless change reports a mistake.
func (d *decoder) decodeEntry(v reflect.Value, name string, change func(reflect.Value) bool) bool {
	elem := newElem(v.Type().Elem())
	if old := v.MapIndex(reflect.ValueOf(name)); old.IsValid() {
		elem.Set(old)
	}
	if !change(elem) {
		return false
	}
	v.SetMapIndex(reflect.ValueOf(name), elem)
	return true
}

func (d *decoder) decodeSlice(n *yaml.Node, v reflect.Value, key string) bool {
	if n.Kind != yaml.SequenceNode {
		d.problem(n, key, "want a list, have %s", kind(n))
		return false
	}
	list := reflect.MakeSlice(v.Type(), 0, len(n.Content))
	for i, item := range n.Content {
		elem := newElem(v.Type().Elem())
		if d.decode(item, elem, fmt.Sprintf("%s[%d]", key, i)) && !isNull(resolve(item)) {
			list = reflect.Append(list, elem)
		}
	}
	// An item with a mistake is left out; the list itself is good.
	v.Set(list)
	return true
}

// newElem returns an addressable element with its defaults.
func newElem(t reflect.Type) reflect.Value {
	elem := reflect.New(t)
	if e, ok := elem.Interface().(interface{ setDefaults() }); ok {
		e.setDefaults()
	}
	return elem.Elem()
}

// A pair is one key of a mapping.
type pair struct {
	name       string
	key, value *yaml.Node
}

// pairs returns the keys of a mapping in their order, with "<<" merged in.
func (d *decoder) pairs(n *yaml.Node, key string, depth int) ([]pair, bool) {
	if n.Kind != yaml.MappingNode {
		d.problem(n, key, "want keys with values, have %s", kind(n))
		return nil, false
	}
	if depth > maxMerge {
		d.problem(n, key, `"<<" nested too deep`)
		return nil, false
	}
	var own, merged []pair
	at := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, value := resolve(n.Content[i]), n.Content[i+1]
		if k.Kind != yaml.ScalarNode {
			d.problem(k, key, "want a word as key, have %s", kind(k))
			continue
		}
		if k.ShortTag() == "!!merge" {
			merged = append(merged, d.merge(resolve(value), join(key, "<<"), depth+1)...)
			continue
		}
		p := pair{k.Value, k, value}
		if first, twice := at[k.Value]; twice {
			d.problem(k, join(key, k.Value), "given twice; this one counts, not the one in line %d", own[first].key.Line)
			own[first] = p
			continue
		}
		at[k.Value] = len(own)
		own = append(own, p)
	}
	for _, p := range merged {
		if _, has := at[p.name]; !has {
			at[p.name] = len(own)
			own = append(own, p)
		}
	}
	return own, true
}

// merge returns the keys that a "<<" brings: of one mapping or of a list of them.
func (d *decoder) merge(n *yaml.Node, key string, depth int) []pair {
	if n.Kind != yaml.SequenceNode {
		pairs, _ := d.pairs(n, key, depth)
		return pairs
	}
	var all []pair
	for _, item := range n.Content {
		if !d.spend(item, key) {
			break
		}
		pairs, _ := d.pairs(resolve(item), key, depth)
		all = append(all, pairs...)
	}
	return all
}

// fields maps the keys of a struct type to its fields.
func fields(t reflect.Type) map[string]int {
	known := make(map[string]int, t.NumField())
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",") // ",omitempty"
		known[name] = i
	}
	return known
}

func join(key, name string) string {
	if key == "" {
		return name
	}
	return key + "." + name
}

// resolve follows an alias; the parser makes none of aliases.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

func kind(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "keys with values"
	case yaml.SequenceNode:
		return "a list"
	}
	return "a single value"
}

// set stores the text of a kernel parameter under a dotted path.
func (d *decoder) set(v reflect.Value, path []string, key, text string) bool {
	if len(path) > 0 {
		switch {
		case v.Kind() == reflect.Struct && !isLeaf(v):
			known := fields(v.Type())
			index, ok := known[path[0]]
			key = join(key, path[0])
			if !ok {
				d.unknownKey(nil, key, path[0], known)
				return false
			}
			return d.set(v.Field(index), path[1:], key, text)
		case v.Kind() == reflect.Map && !isLeaf(v):
			if v.IsNil() {
				v.Set(reflect.MakeMap(v.Type()))
			}
			// Names of sysctls have dots themselves.
			name, rest := path[0], path[1:]
			if v.Type().Elem().Kind() == reflect.String {
				name, rest = strings.Join(path, "."), nil
			}
			return d.decodeEntry(v, name, func(elem reflect.Value) bool {
				return d.set(elem, rest, join(key, name), text)
			})
		}
		d.problem(nil, join(key, strings.Join(path, ".")), "unknown key: %s has no parts", key)
		return false
	}
	if to, ok := v.Addr().Interface().(textValue); ok {
		return d.setText(nil, to, text, key)
	}
	if v.Kind() == reflect.String {
		v.SetString(text)
		return true
	}
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil || len(doc.Content) == 0 {
		d.problem(nil, key, "not valid YAML; lists are written [a,b]")
		return false
	}
	before := len(d.problems)
	ok := d.decode(doc.Content[0], v, key)
	for i := before; i < len(d.problems); i++ {
		// Positions inside one parameter help nobody.
		d.problems[i].Line, d.problems[i].Column = 0, 0
	}
	return ok
}

// isLeaf reports whether a value reads its own notation.
func isLeaf(v reflect.Value) bool {
	switch v.Addr().Interface().(type) {
	case shaped, textValue:
		return true
	}
	return false
}
