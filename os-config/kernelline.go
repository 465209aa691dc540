package osconfig

import (
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/bulkhead-os/bulkhead/os-config/cmdline"
)

// kernelLine is the Source of problems in kernel parameters.
const kernelLine = "kernel command line"

// FromKernelLine returns what the kernel command line alone says, for what must
// be known before the other sources can be read.
func FromKernelLine(line string) Config {
	cfg := Defaults()
	d := decoder{source: kernelLine}
	d.mergeParameters(&cfg, line)
	return cfg
}

// mergeParameters adds the parameters that start with "rancher." or "cc.".
func (d *decoder) mergeParameters(c *Config, line string) {
	params := cmdline.Parse(line)
	for _, s := range params.Settings() {
		d.set(reflect.ValueOf(c).Elem(), s.Path, "", unquote(s.Raw))
		d.tellOpenPassword(strings.Join(s.Path, "."), unquote(s.Raw))
	}
	// The one parameter that adds up when it is repeated.
	if ttys := params.All("rancher.autologin"); len(ttys) > 1 {
		c.Rancher.Autologin = ttys
	}
}

// tellOpenPassword warns of a password in clear, which works: without it nobody
// may be able to log in.
func (d *decoder) tellOpenPassword(key, text string) {
	bare := strings.TrimLeft(text, "!*") // what is left of a password that nothing matches
	if d.source == kernelLine && key == "rancher.password" && bare != "" && !isHash(bare) {
		d.warn(nil, key, "a password in clear, which all programs and containers can read in /proc/cmdline; "+
			"use a hash, as openssl passwd -6 makes it, or ssh_authorized_keys in a configuration file")
	}
}

// unquote removes one pair of quotes around a value. They are the kernel
// line's, for blanks, not YAML's: "[a, b]" is a list.
func unquote(s string) string {
	if n := len(s); n > 1 && s[0] == s[n-1] && (s[0] == '"' || s[0] == '\'') {
		return s[1 : n-1]
	}
	return s
}

// set stores the text of a kernel parameter under a dotted path.
func (d *decoder) set(v reflect.Value, path []string, key, text string) bool {
	if len(path) == 0 {
		return d.setValue(v, key, text)
	}
	switch {
	case isLeaf(v):
	case v.Kind() == reflect.Struct:
		keys := d.keysOf(v.Type())
		index, ok := keys.byName[path[0]]
		at := join(key, path[0])
		if !ok {
			d.unknownKey(nil, at, path[0], keys)
			return false
		}
		f := &keys.fields[index]
		d.tellEffect(nil, at, path[0], f)
		return d.set(v.Field(index), path[1:], join(key, f.name), text)
	case v.Kind() == reflect.Map:
		name, rest := d.entryName(v.Type().Elem(), path)
		if k, is := v.Interface().(keyed); is {
			if err := k.checkKey(name); err != nil {
				d.problem(nil, key, "%v", err)
				return false
			}
		}
		if v.IsNil() {
			v.Set(reflect.MakeMap(v.Type()))
		}
		return d.decodeEntry(v, name, func(elem reflect.Value) bool {
			return d.set(elem, rest, join(key, name), text)
		})
	}
	d.problem(nil, join(key, strings.Join(path, ".")), "unknown key: %s has no parts", key)
	return false
}

// entryName splits a path into the name of an entry of a map and what is
// within the entry. Names may have dots themselves, as those of sysctls and
// VLANs have: the name ends where a key of the entry follows.
func (d *decoder) entryName(elem reflect.Type, path []string) (name string, rest []string) {
	if elem.Kind() != reflect.Struct {
		return strings.Join(path, "."), nil
	}
	keys := d.keysOf(elem)
	for i := 1; i < len(path); i++ {
		if _, known := keys.byName[path[i]]; known {
			return strings.Join(path[:i], "."), path[i:]
		}
	}
	return path[0], path[1:]
}

func (d *decoder) setValue(v reflect.Value, key, text string) bool {
	if to, ok := v.Addr().Interface().(textValue); ok {
		return d.setText(nil, to, text, key) && d.arrived(nil, key)
	}
	if v.Kind() == reflect.String {
		return d.setScalar(nil, v, text, key) && d.arrived(nil, key)
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
