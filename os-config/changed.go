package osconfig

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// Changed returns the keys whose values differ between two configurations,
// sorted. A list is one value, an entry that only one of them has is one key.
// Keys that have no effect are left out.
func Changed(a, b Config) []string {
	var keys []string
	compare(reflect.ValueOf(a), reflect.ValueOf(b), "", func(key string) { keys = append(keys, key) })
	slices.Sort(keys)
	return keys
}

// compare calls differs for each key at or below key that differs.
func compare(a, b reflect.Value, key string, differs func(key string)) {
	switch {
	case a.Kind() == reflect.Struct && !isWhole(a):
		for i, k := range readKeys(a.Type()).fields {
			if k.instead == "" && !k.notYet {
				compare(a.Field(i), b.Field(i), join(key, k.name), differs)
			}
		}
	case a.Kind() == reflect.Map && !isWhole(a):
		names := make(map[string]bool)
		for _, v := range []reflect.Value{a, b} {
			for _, name := range v.MapKeys() {
				names[name.String()] = true
			}
		}
		for _, name := range slices.Sorted(maps.Keys(names)) {
			in := reflect.ValueOf(name).Convert(a.Type().Key())
			switch x, y := a.MapIndex(in), b.MapIndex(in); {
			case !x.IsValid() || !y.IsValid():
				differs(join(key, name))
			default:
				compare(x, y, join(key, name), differs)
			}
		}
	case a.Kind() == reflect.Slice && a.Len()+b.Len() == 0:
	case !reflect.DeepEqual(a.Interface(), b.Interface()):
		differs(key)
	}
}

// isWhole reports whether a value is one for people, whatever it consists of.
func isWhole(v reflect.Value) bool {
	switch v.Interface().(type) {
	case redacted, noder, fmt.Stringer, Anything:
		return true
	}
	return false
}
