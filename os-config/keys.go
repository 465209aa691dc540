package osconfig

import (
	"reflect"
	"strings"
)

// structKeys are the keys of a struct type.
type structKeys struct {
	byName map[string]int // with aliases
	names  []string
	fields []structKey
}

// A structKey is what a field's tags say.
type structKey struct {
	name, alias, instead string
	required, notYet     bool
}

// otherName returns the other of the key's two names.
func (k *structKey) otherName(name string) string {
	if name == k.name {
		return k.alias
	}
	return k.name
}

// keysOf returns the keys of a struct type.
func (d *decoder) keysOf(t reflect.Type) *structKeys {
	if keys, ok := d.structs[t]; ok {
		return keys
	}
	keys := readKeys(t)
	if d.structs == nil {
		d.structs = make(map[reflect.Type]*structKeys)
	}
	d.structs[t] = keys
	return keys
}

func readKeys(t reflect.Type) *structKeys {
	n := t.NumField()
	keys := &structKeys{make(map[string]int, n), make([]string, n), make([]structKey, n)}
	for i := range n {
		tag := t.Field(i).Tag
		name, _, _ := strings.Cut(tag.Get("yaml"), ",") // ",omitempty"
		f := structKey{name: name, alias: tag.Get("alias"), instead: tag.Get("instead"), required: tag.Get("required") != ""}
		f.notYet = notYet(t.Name() + "." + name)
		keys.byName[name], keys.names[i], keys.fields[i] = i, name, f
		if f.alias != "" {
			keys.byName[f.alias] = i
		}
	}
	return keys
}
