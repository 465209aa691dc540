// Package cmdline reads the kernel command line: which parameters it holds and
// what configuration they set. It does not know which keys exist and does not
// parse YAML; os-config does both with what this package returns.
package cmdline

import (
	"strings"
)

// A Param is one word of the command line.
type Param struct {
	Key string
	// Value is what follows the first "=", with one pair of surrounding
	// quotes removed; "true" for a bare key.
	Value string
	// Raw is the value as written, quotes included: as YAML, 007 and "007"
	// are not the same.
	Raw string
}

// Params are the parameters in the order they were given. When a key repeats,
// the last one counts.
type Params []Param

// Parse splits a command line such as the content of /proc/cmdline.
//
// Space separates, except inside double quotes (as the kernel has it), inside
// single quotes that open a value, and inside brackets that open one:
//
//	rancher.debug cc.hostname="my host" rancher.state.autoformat=[/dev/sda, /dev/vda]
//
// A quote without its partner runs to the end of the line, as it does for the
// kernel. A bracket without its partner has no meaning.
func Parse(line string) Params {
	var params Params
	for rest := line; ; {
		rest = strings.TrimLeft(rest, separators)
		if rest == "" {
			return params
		}
		n := wordLength(rest)
		if word := rest[:n]; word != "--" {
			params = append(params, parseWord(word))
		}
		rest = rest[n:]
	}
}

const separators = " \t\n\r\x00"

// wordLength returns the length of the word that s begins with.
func wordLength(s string) int {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case strings.IndexByte(separators, c) >= 0:
			return i
		case c == '"', c == '\'' && opensValue(s, i):
			end := strings.IndexByte(s[i+1:], c)
			if end < 0 {
				return len(s)
			}
			i += 1 + end
		case c == '[' && opensValue(s, i):
			i += listLength(s[i:]) - 1
		}
	}
	return len(s)
}

// opensValue reports whether s[i] is the first character of a value.
func opensValue(s string, i int) bool {
	return i > 0 && s[i-1] == '=' && strings.IndexByte(s[:i], '=') == i-1
}

// listLength returns the length of the bracketed list that s begins with, or
// 1 when it is not closed. Brackets inside quotes do not count.
func listLength(s string) int {
	var quote byte
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == ']':
			return i + 1
		}
	}
	return 1
}

func parseWord(word string) Param {
	// The kernel also takes "key=some value", quoted as a whole.
	if inner, ok := unquote(word); ok && strings.Contains(inner, "=") {
		word = inner
	}
	key, raw, found := strings.Cut(word, "=")
	if !found {
		return Param{Key: key, Value: "true", Raw: "true"}
	}
	value, _ := unquote(raw)
	return Param{Key: key, Value: value, Raw: raw}
}

// unquote removes one pair of surrounding quotes, or the lone quote of a word
// that runs to the end of the line.
func unquote(s string) (string, bool) {
	if len(s) == 0 || s[0] != '"' && s[0] != '\'' {
		return s, false
	}
	if len(s) > 1 && s[len(s)-1] == s[0] {
		return s[1 : len(s)-1], true
	}
	if strings.IndexByte(s[1:], s[0]) < 0 && s[0] == '"' {
		return s[1:], true
	}
	return s, false
}

// Lookup returns the value that counts for key and whether it is given at all.
func (p Params) Lookup(key string) (string, bool) {
	for i := len(p) - 1; i >= 0; i-- {
		if p[i].Key == key {
			return p[i].Value, true
		}
	}
	return "", false
}

// Get returns the value that counts for key, empty when it is not given.
func (p Params) Get(key string) string {
	value, _ := p.Lookup(key)
	return value
}

// All returns every value of a key that may repeat, such as rancher.autologin.
func (p Params) All(key string) []string {
	var values []string
	for _, param := range p {
		if param.Key == key {
			values = append(values, param.Value)
		}
	}
	return values
}

// Bool reports whether key is given and switched on: bare, or with one of YAML's
// words for true, or 1.
func (p Params) Bool(key string) bool {
	switch strings.ToLower(p.Get(key)) {
	case "true", "yes", "on", "y", "1":
		return true
	}
	return false
}

// List returns the elements of a value such as [/dev/sda,/dev/vda]. A value
// without brackets is a list of one.
func (p Params) List(key string) []string {
	value := strings.TrimSpace(p.Get(key))
	if value == "" {
		return nil
	}
	inner, found := strings.CutPrefix(value, "[")
	if !found {
		return []string{value}
	}
	var list []string
	for _, element := range splitList(strings.TrimSuffix(inner, "]")) {
		element, _ = unquote(strings.TrimSpace(element))
		if element != "" {
			list = append(list, element)
		}
	}
	return list
}

// splitList splits at commas outside quotes.
func splitList(s string) []string {
	var quote rune
	return strings.FieldsFunc(s, func(c rune) bool {
		switch {
		case c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		}
		return quote == 0 && c == ','
	})
}

// A Setting is a configuration value from the command line.
type Setting struct {
	// Path is where it belongs in the configuration, for example
	// ["rancher", "state", "dev"].
	Path []string
	// Raw is the value in YAML notation.
	Raw string
}

// Settings returns what the parameters rancher.<path> and cc.<path> set, in
// the order given: a later one overrides an earlier one.
func (p Params) Settings() []Setting {
	var settings []Setting
	for _, param := range p {
		path, isTop := strings.CutPrefix(param.Key, "cc.")
		if !isTop && !strings.HasPrefix(path, "rancher.") {
			continue
		}
		settings = append(settings, Setting{Path: strings.Split(path, "."), Raw: param.Raw})
	}
	return settings
}
