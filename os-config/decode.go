package osconfig

import (
	"encoding/base64"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	// maxNodes bounds the work that one source can cause through aliases
	// that repeat other aliases.
	maxNodes = 50_000
	// maxProblems is how many mistakes, and how many warnings, of one source
	// are reported.
	maxProblems = 100
	// maxMerge is how deep "<<" may nest.
	maxMerge = 16
)

// A decoder walks the YAML of sources along the Go types and stores what is
// right. yaml.v3's own decoder cannot: it gives no columns, and a mistake
// leaves no telling which part of the rest it stored.
//
// Decoding several sources one after the other into the same value merges
// them: maps and structs key by key, everything else replaced.
type decoder struct {
	source   string
	problems []Problem
	// nodes, and told by severity, count within the source.
	nodes   int
	told    [2]int
	structs map[reflect.Type]*structKeys
	// origins is filled when it is there.
	origins Origins
}

// from begins another source.
func (d *decoder) from(source string) { d.source, d.nodes, d.told = source, 0, [2]int{} }

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
	d.note(Error, n, key, fmt.Sprintf(format, args...))
}

// warn notes that something at n does not do what its author may expect.
func (d *decoder) warn(n *yaml.Node, key, format string, args ...any) {
	d.note(Warning, n, key, fmt.Sprintf(format, args...))
}

func (d *decoder) note(severity Severity, n *yaml.Node, key, text string) {
	d.told[severity]++
	switch told := d.told[severity]; {
	case told == maxProblems+1:
		d.problems = append(d.problems, Problem{Severity: severity, Source: d.source, Text: "more of them are left out"})
		return
	case told > maxProblems:
		return
	}
	p := Problem{Severity: severity, Source: d.source, Key: key, Text: text}
	if n != nil {
		p.Line, p.Column = n.Line, n.Column
	}
	d.problems = append(d.problems, p)
}

// parse returns the root mapping of a text, or nil. It reports whether the
// text is one that can be used, if only as empty.
func (d *decoder) parse(text []byte) (*yaml.Node, bool) {
	var doc yaml.Node
	if line, column, bad := badCharacter(text); bad {
		d.problem(&yaml.Node{Line: line, Column: column}, "", "not UTF-8 text, file ignored")
		return nil, false
	}
	if err := yaml.Unmarshal(text, &doc); err != nil {
		line, column, why := syntaxError(text, err)
		d.problem(&yaml.Node{Line: line, Column: column}, "", "invalid YAML, file ignored: %s", why)
		return nil, false
	}
	if line := secondDocument(text); line > 0 {
		d.problem(&yaml.Node{Line: line, Column: 1}, "", "only what is above --- counts")
	}
	if len(doc.Content) == 0 {
		return nil, true
	}
	root := resolve(doc.Content[0])
	switch {
	case isNull(root):
		return nil, true
	case root.Kind != yaml.MappingNode:
		d.problem(root, "", "expected a mapping (key: value) at the top level, found %s", kind(root))
		return nil, false
	}
	return root, true
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
		return to.setNode(d, n, key) && d.arrived(n, key)
	case textValue:
		text, ok := d.text(n, key, "a text")
		return ok && d.setText(n, to, text, key) && d.arrived(n, key)
	}
	switch v.Kind() {
	case reflect.Struct:
		return d.decodeStruct(n, v, key)
	case reflect.Map:
		return d.decodeMap(n, v, key)
	case reflect.Slice:
		return d.decodeList(n, v, key) && d.arrived(n, key)
	}
	text, ok := d.text(n, key, wantScalar(v))
	return ok && d.setScalar(n, v, text, key) && d.arrived(n, key)
}

// arrived notes where the value of a key comes from.
func (d *decoder) arrived(n *yaml.Node, key string) bool {
	if d.origins != nil {
		o := Origin{Source: d.source}
		if n != nil {
			o.Line = n.Line
		}
		d.origins[key] = o
	}
	return true
}

func wantScalar(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a whole number"
	}
	return "a text"
}

// setScalar stores a text in a plain Go value.
func (d *decoder) setScalar(n *yaml.Node, v reflect.Value, text, key string) bool {
	switch v.Kind() {
	case reflect.String:
		if words, ok := v.Interface().(enumerated); ok && !slices.Contains(words.values(), text) {
			d.problem(n, key, "expected %s", oneOf(words.values()))
			return false
		}
		v.SetString(text)
	case reflect.Bool:
		on, known := parseSwitch(text)
		if !known {
			d.problem(n, key, "expected true or false")
			return false
		}
		v.SetBool(on)
	case reflect.Int:
		i, ok := number(text, 0, 1<<31-1)
		if !ok {
			d.problem(n, key, "expected a whole number from 0")
			return false
		}
		v.SetInt(int64(i))
	default:
		panic("BUG: osconfig cannot decode " + v.Type().String())
	}
	return true
}

// oneOf lists words: "a, b or c".
func oneOf(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
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
		d.problem(n, key, "expected %s, found %s", want, kind(n))
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
	if !ok {
		return false
	}
	keys := d.keysOf(v.Type())
	given := make(map[int]*yaml.Node, len(pairs))
	for _, p := range pairs {
		name := shownKey(p.key)
		path := join(key, name)
		index, found := keys.byName[p.name]
		if !found {
			d.unknownKey(p.key, path, name, keys)
			continue
		}
		f := &keys.fields[index]
		if given[index] != nil {
			d.problem(p.key, path, "duplicate key, also given as %s", f.otherName(p.name))
			continue
		}
		d.tellEffect(p.key, path, p.name, f)
		if !isNull(resolve(p.value)) {
			given[index] = p.value
		}
		ok = d.decode(p.value, v.Field(index), join(key, f.name)) && ok
	}
	complete := true
	for i := range keys.fields {
		if f := &keys.fields[i]; f.required && given[i] == nil && v.Field(i).IsZero() {
			d.problem(n, key, "%s is missing", f.name)
			complete = false
		}
	}
	if !complete {
		// What is around it may count all the same.
		v.SetZero()
		maps.DeleteFunc(d.origins, func(k string, _ Origin) bool { return strings.HasPrefix(k, key+".") })
		return false
	}
	at := func(field string) *yaml.Node {
		first, below, _ := strings.Cut(field, ".")
		value := given[keys.byName[first]]
		if value == nil {
			return n
		}
		return valueBelow(resolve(value), below)
	}
	if c, is := v.Addr().Interface().(checked); is && ok {
		if field, text := c.check(); text != "" {
			d.problem(at(field), join(key, field), "%s", text)
			return false
		}
	}
	if c, is := v.Addr().Interface().(doubted); is && ok {
		if field, text := c.doubtful(); text != "" {
			d.warn(at(field), join(key, field), "%s", text)
		}
	}
	return ok
}

// valueBelow returns the value at a key below a mapping, or the mapping.
func valueBelow(n *yaml.Node, key string) *yaml.Node {
	for i := 0; key != "" && i+1 < len(n.Content); i += 2 {
		if n.Kind == yaml.MappingNode && n.Content[i].Value == key {
			return resolve(n.Content[i+1])
		}
	}
	return n
}

// A checked struct looks at how its fields go together, once each is right.
// It returns the key that is wrong and what is wrong, or nothing.
type checked interface {
	check() (field, text string)
}

// A doubted struct tells of a field that most likely does not do what its author
// expects, and why, or nothing.
type doubted interface {
	doubtful() (field, text string)
}

// tellEffect warns about a key that does nothing, or goes by an older name.
func (d *decoder) tellEffect(n *yaml.Node, path, name string, f *structKey) {
	switch {
	case f.instead != "":
		d.warn(n, path, "has no effect: %s", f.instead)
	case f.notYet:
		d.warn(n, path, "has no effect in this version")
	case name != f.name:
		d.warn(n, path, "is an older name of %s", f.name)
	}
}

// shownKey returns a key as messages may show it. Where the blank behind the
// colon is missing, YAML takes the value as part of the key, and it could be
// a password.
func shownKey(n *yaml.Node) string {
	name, _, _ := strings.Cut(n.Value, ":")
	if len(name) > 64 {
		name = name[:64] + "…"
	}
	return name
}

func (d *decoder) unknownKey(n *yaml.Node, path, name string, keys *structKeys) {
	if n != nil && strings.Contains(n.Value, ":") {
		d.problem(n, path, "unknown key; is there no blank behind the colon?")
		return
	}
	if why := instead(path); why != "" {
		d.problem(n, path, "not supported here: %s", why)
		return
	}
	if elsewhere := d.elsewhere(path); elsewhere != "" {
		d.problem(n, path, "unknown key here; did you mean %s?", elsewhere)
		return
	}
	if near := nearest(name, keys.names); near != "" {
		d.problem(n, path, "unknown key; did you mean %s?", near)
		return
	}
	d.problem(n, path, "unknown key")
}

// elsewhere returns the key that a path means which is too high or too low by
// one level: sysctl for rancher.sysctl, or "".
func (d *decoder) elsewhere(path string) string {
	if name, below := strings.CutPrefix(path, "rancher."); below {
		if _, known := d.keysOf(reflect.TypeFor[Config]()).byName[name]; known {
			return name
		}
		return ""
	}
	if _, known := d.keysOf(reflect.TypeFor[Rancher]()).byName[path]; known {
		return "rancher." + path
	}
	return ""
}

// An entry that is usablePartly is not left out for a mistake in one of its
// keys. It then makes the best of the others.
type usablePartly interface {
	makeDo()
}

// A keyed map checks its keys.
type keyed interface {
	checkKey(name string) error
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
		if k, is := v.Interface().(keyed); is {
			if err := k.checkKey(p.name); err != nil {
				d.problem(p.key, key, "%v", err)
				continue
			}
		}
		// An entry with a mistake is left out; the map itself is good.
		d.decodeEntry(v, p.name, func(elem reflect.Value) bool {
			mistakes := d.told[Error]
			ok := d.decode(p.value, elem, join(key, p.name))
			entry, partly := elem.Addr().Interface().(usablePartly)
			if !partly || d.told[Error] == mistakes || resolve(p.value).Kind != yaml.MappingNode {
				return ok
			}
			entry.makeDo()
			return true
		})
	}
	return true
}

// decodeEntry changes one entry of a map, unless change reports a mistake.
func (d *decoder) decodeEntry(v reflect.Value, name string, change func(reflect.Value) bool) bool {
	elem := newElem(v.Type().Elem())
	if old := v.MapIndex(reflect.ValueOf(name)); old.IsValid() {
		elem.Set(clone(old))
	}
	if !change(elem) {
		return false
	}
	v.SetMapIndex(reflect.ValueOf(name), elem)
	return true
}

// clone copies a value with the maps in it, so that a change of the copy that
// turns out to be a mistake leaves the value alone.
func clone(v reflect.Value) reflect.Value {
	c := reflect.New(v.Type()).Elem()
	c.Set(v)
	switch {
	case v.Kind() == reflect.Map && !v.IsNil():
		c.Set(reflect.MakeMapWithSize(v.Type(), v.Len()))
		for it := v.MapRange(); it.Next(); {
			c.SetMapIndex(it.Key(), it.Value())
		}
	case v.Kind() == reflect.Struct:
		for i := range c.NumField() {
			if f := c.Field(i); f.CanSet() && (f.Kind() == reflect.Map || f.Kind() == reflect.Struct) {
				f.Set(clone(f))
			}
		}
	}
	return c
}

// decodeList stores the items of a list that are right.
func (d *decoder) decodeList(n *yaml.Node, v reflect.Value, key string) bool {
	if n.Kind != yaml.SequenceNode {
		d.problem(n, key, "expected a list, found %s", kind(n))
		return false
	}
	list := reflect.MakeSlice(v.Type(), 0, len(n.Content))
	origins := d.origins
	d.origins = nil // a list comes from one place as a whole
	for i, item := range n.Content {
		elem := newElem(v.Type().Elem())
		if d.decode(item, elem, fmt.Sprintf("%s[%d]", key, i)) && !isNull(resolve(item)) {
			list = reflect.Append(list, elem)
		}
	}
	d.origins = origins
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
		d.problem(n, key, "expected a mapping (key: value), found %s", kind(n))
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
			d.problem(k, key, "expected a word as key, found %s", kind(k))
			continue
		}
		if k.ShortTag() == "!!merge" {
			merged = append(merged, d.merge(resolve(value), join(key, "<<"), depth+1)...)
			continue
		}
		p := pair{k.Value, k, value}
		if first, twice := at[k.Value]; twice {
			d.problem(k, join(key, k.Value), "duplicate key; this value overrides line %d", own[first].key.Line)
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
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	return "a single value"
}
