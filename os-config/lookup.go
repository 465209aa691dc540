package osconfig

import (
	"fmt"
	"reflect"
	"strings"
)

// splitKey splits a dotted path.
func splitKey(key string) []string {
	if key == "" {
		return nil
	}
	return strings.Split(key, ".")
}

// lookup returns the value at a dotted path and the path without older names.
// The value is not valid where a map has no such entry.
func lookup(c Config, key string) (v reflect.Value, canonical string, err error) {
	var d decoder
	v = reflect.ValueOf(&c).Elem()
	path, at := splitKey(key), ""
	for len(path) > 0 {
		t, name, rest, err := d.step(v.Type(), path, at)
		if err != nil {
			return reflect.Value{}, "", err
		}
		at = join(at, name)
		if v.Kind() == reflect.Struct {
			v = v.Field(d.keysOf(v.Type()).byName[name])
			path = rest
			continue
		}
		entry := v.MapIndex(reflect.ValueOf(name))
		if !entry.IsValid() {
			_, err := d.typeBelow(t, rest, at)
			return reflect.Value{}, at, err
		}
		v, path = entry, rest
	}
	return v, at, nil
}

// step returns the type of the first part of a path below a type, the part's
// proper name, and the rest of the path.
func (d *decoder) step(t reflect.Type, path []string, at string) (below reflect.Type, name string, rest []string, err error) {
	v := reflect.New(t).Elem()
	switch {
	case t.Kind() == reflect.Struct && (!isLeaf(v) || hasKeys(t)):
		keys := d.keysOf(t)
		index, known := keys.byName[path[0]]
		if !known {
			return nil, "", nil, d.unknown(join(at, path[0]), path[0], keys)
		}
		return t.Field(index).Type, keys.names[index], path[1:], nil
	case t.Kind() == reflect.Map:
		name, rest := d.entryName(t.Elem(), path)
		if k, is := v.Interface().(keyed); is {
			if err := k.checkKey(name); err != nil {
				return nil, "", nil, fmt.Errorf("%s: %w", at, err)
			}
		}
		return t.Elem(), name, rest, nil
	}
	return nil, "", nil, fmt.Errorf("%s: unknown key: %s has no parts", join(at, strings.Join(path, ".")), at)
}

// hasKeys reports whether a type that reads its own notation is written as keys
// with values all the same.
func hasKeys(t reflect.Type) bool { return t.NumField() > 0 && t.Field(0).Tag.Get("yaml") != "" }

// typeBelow returns the type at the end of a path below a type.
func (d *decoder) typeBelow(t reflect.Type, path []string, at string) (reflect.Type, error) {
	for len(path) > 0 {
		below, name, rest, err := d.step(t, path, at)
		if err != nil {
			return nil, err
		}
		t, path, at = below, rest, join(at, name)
	}
	return t, nil
}

// unknown is the error of a key that does not exist.
func (d *decoder) unknown(path, name string, keys *structKeys) error {
	var told decoder
	told.unknownKey(nil, path, name, keys)
	return fmt.Errorf("%s: %s", path, told.problems[0].Text)
}

// proper returns a path as its parts, by their proper names, and the type of
// what it leads to.
func proper(key string) ([]string, reflect.Type, error) {
	var d decoder
	var parts []string
	t := reflect.TypeFor[Config]()
	for path, at := splitKey(key), ""; len(path) > 0; {
		below, name, rest, err := d.step(t, path, at)
		if err != nil {
			return nil, nil, err
		}
		parts = append(parts, name)
		t, path, at = below, rest, join(at, name)
	}
	return parts, t, nil
}

// IsKey reports whether a dotted path is one that can be set; the error tells
// the nearest that can.
func IsKey(key string) error {
	_, _, err := proper(key)
	return err
}

// Complete returns the keys that a beginning of a dotted path may become. A
// key with others below it ends in a dot.
func Complete(beginning string) []string {
	var d decoder
	t, done := reflect.TypeFor[Config](), ""
	if dot := strings.LastIndexByte(beginning, '.'); dot >= 0 {
		parts, below, err := proper(beginning[:dot])
		if err != nil {
			return nil
		}
		t, done = below, strings.Join(parts, ".")+"."
	}
	if t.Kind() != reflect.Struct || isLeaf(reflect.New(t).Elem()) && !hasKeys(t) {
		return nil
	}
	var list []string
	for i, k := range d.keysOf(t).fields {
		if !strings.HasPrefix(done+k.name, beginning) || k.instead != "" {
			continue
		}
		key := done + k.name
		if f := t.Field(i).Type; f.Kind() == reflect.Map || f.Kind() == reflect.Struct && !isLeaf(reflect.New(f).Elem()) {
			key += "."
		}
		list = append(list, key)
	}
	return list
}
