package osconfig

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The types in this file have more than one notation.

// A StringList is a list of texts; one text alone is a list of one.
type StringList []string

func (l *StringList) setNode(d *decoder, n *yaml.Node, key string) bool {
	if n.Kind == yaml.ScalarNode {
		text, ok := d.text(n, key, "a text")
		if ok {
			*l = StringList{text}
		}
		return ok
	}
	return d.decodeList(n, reflect.ValueOf((*[]string)(l)).Elem(), key)
}

// texts returns the scalars of a list.
func (d *decoder) texts(n *yaml.Node, key string) ([]string, bool) {
	if n.Kind != yaml.SequenceNode {
		d.problem(n, key, "expected a text or a list, found %s", kind(n))
		return nil, false
	}
	list, ok := make([]string, 0, len(n.Content)), true
	for i, item := range n.Content {
		if !d.spend(item, key) {
			return nil, false
		}
		text, good := d.text(resolve(item), fmt.Sprintf("%s[%d]", key, i), "a text")
		list, ok = append(list, text), ok && good
	}
	return list, ok
}

// A Command is an item of runcmd: a line for the shell, or a list of words
// that are run as they are.
type Command []string

func (c *Command) setNode(d *decoder, n *yaml.Node, key string) bool {
	if n.Kind == yaml.ScalarNode {
		text, ok := d.text(n, key, "a command")
		if ok {
			*c = Command{"/bin/sh", "-c", text}
		}
		return ok
	}
	if n.Kind == yaml.MappingNode {
		d.problem(n, key, "expected a text or a list, found a mapping; a command with a colon and a blank needs quotes around it")
		return false
	}
	words, ok := d.texts(n, key)
	if ok {
		*c = words
	}
	return ok
}

// Words are the words of a container's command: a list, or one text that is
// split as a shell would, without any expansion.
type Words []string

func (w *Words) setNode(d *decoder, n *yaml.Node, key string) bool {
	if n.Kind == yaml.ScalarNode {
		text, ok := d.text(n, key, "a command")
		if !ok {
			return false
		}
		words, err := splitWords(text)
		if err != nil {
			d.problem(n, key, "%v", err)
			return false
		}
		*w = words
		return true
	}
	words, ok := d.texts(n, key)
	if ok {
		*w = words
	}
	return ok
}

// splitWords splits a text at blanks, honouring quotes and backslashes.
func splitWords(text string) ([]string, error) {
	var (
		words   []string
		word    strings.Builder
		started bool
		quote   rune
		escaped bool
	)
	for _, r := range text {
		switch {
		case escaped:
			word.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			started, escaped = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			started, quote = true, r
		case strings.ContainsRune(" \t\r\n", r):
			if started {
				words = append(words, word.String())
				word.Reset()
				started = false
			}
		default:
			word.WriteRune(r)
			started = true
		}
	}
	if quote != 0 || escaped {
		return nil, errors.New("a quotation mark has no partner, or a backslash is the end")
	}
	if started {
		words = append(words, word.String())
	}
	return words, nil
}

// Environment maps names of variables to values; nil means the value that
// rancher.environment has for the name. It is written as a map or as a list
// of "NAME=value" and "NAME".
type Environment map[string]*string

func (e *Environment) setNode(d *decoder, n *yaml.Node, key string) bool {
	set, ok := d.assignments(n, key)
	if !ok {
		return false
	}
	// A list replaces, a map merges; the old map may belong to an earlier source.
	if *e = maps.Clone(*e); *e == nil || n.Kind == yaml.SequenceNode {
		*e = Environment{}
	}
	for _, a := range set {
		(*e)[a.name] = a.value
	}
	return true
}

// Labels maps the names of labels to values; written like Environment.
type Labels map[string]string

func (l *Labels) setNode(d *decoder, n *yaml.Node, key string) bool {
	set, ok := d.assignments(n, key)
	if !ok {
		return false
	}
	if *l = maps.Clone(*l); *l == nil || n.Kind == yaml.SequenceNode {
		*l = Labels{}
	}
	for _, a := range set {
		(*l)[a.name] = ""
		if a.value != nil {
			(*l)[a.name] = *a.value
		}
	}
	return true
}

type assignment struct {
	name  string
	value *string
}

func (d *decoder) assignments(n *yaml.Node, key string) ([]assignment, bool) {
	var set []assignment
	if n.Kind == yaml.SequenceNode {
		texts, ok := d.texts(n, key)
		for _, text := range texts {
			a := assignment{name: text}
			if name, value, has := strings.Cut(text, "="); has {
				a = assignment{name, &value}
			}
			set = append(set, a)
		}
		return set, ok
	}
	pairs, ok := d.pairs(n, key, 0)
	for _, p := range pairs {
		a := assignment{name: p.name}
		if value := resolve(p.value); !isNull(value) {
			text, good := d.text(value, join(key, p.name), "a text")
			ok = ok && good
			a.value = &text
		}
		set = append(set, a)
	}
	return set, ok
}

// Anything is the value of a key that does nothing.
type Anything struct{}

func (Anything) setNode(*decoder, *yaml.Node, string) bool { return true }

// Names are a list of names, or a map whose keys are the names.
type Names []string

func (l *Names) setNode(d *decoder, n *yaml.Node, key string) bool {
	if n.Kind != yaml.MappingNode {
		return (*StringList)(l).setNode(d, n, key)
	}
	pairs, ok := d.pairs(n, key, 0)
	*l = make(Names, len(pairs))
	for i, p := range pairs {
		(*l)[i] = p.name
	}
	return ok
}
