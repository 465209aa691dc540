package kernel

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ulikunitz/xz"
)

// A rule keeps or drops a folder of modules or one module.
type rule struct {
	drop bool
	// folder is below kernel/ with a trailing slash, or empty.
	folder string
	// name is a module's name with underscores, or empty.
	name string
}

func parseRules(list string) []rule {
	var rules []rule
	for line := range strings.Lines(list) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		var r rule
		line, r.drop = strings.CutPrefix(line, "!")
		if strings.HasSuffix(line, "/") {
			r.folder = line
		} else {
			r.name = moduleName(line)
		}
		rules = append(rules, r)
	}
	return rules
}

// moduleName is the name as the kernel knows it, from a file's or a list's.
func moduleName(file string) string {
	name, _, _ := strings.Cut(path.Base(file), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

type module struct {
	// path is relative to the version's folder: kernel/fs/….ko.xz.
	path string
	// raw is the file, elf its uncompressed content once it was needed.
	raw, elf []byte
}

// modules are by name.
type modules map[string]*module

func (ms modules) add(file string, raw []byte) {
	ms[moduleName(file)] = &module{path: file, raw: raw}
}

// match returns the names of the modules that the rules keep.
func (ms modules) match(rules []rule) []string {
	var kept []string
	for name, m := range ms {
		keep := false
		for _, r := range rules {
			in := r.folder != "" && strings.HasPrefix(m.path, "kernel/"+r.folder)
			if in || r.name == name {
				keep = !r.drop
			}
		}
		if keep {
			kept = append(kept, name)
		}
	}
	slices.Sort(kept)
	return kept
}

// closure adds what the named modules depend on and unpacks all of them.
func (ms modules) closure(names []string) ([]string, error) {
	kept := make(map[string]bool)
	for todo := slices.Clone(names); len(todo) > 0; {
		name := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		m, ok := ms[name]
		if !ok || kept[name] {
			// A dependency that is no file is built in.
			continue
		}
		kept[name] = true
		if err := m.unpack(); err != nil {
			return nil, fmt.Errorf("%s: %w", m.path, err)
		}
		deps, err := dependencies(m.elf)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.path, err)
		}
		todo = append(todo, deps...)
	}
	return slices.Sorted(maps.Keys(kept)), nil
}

func (m *module) unpack() error {
	if m.elf != nil {
		return nil
	}
	if !strings.HasSuffix(m.path, ".xz") {
		m.elf = m.raw
		return nil
	}
	r, err := xz.NewReader(bytes.NewReader(m.raw))
	if err != nil {
		return err
	}
	m.elf, err = io.ReadAll(r)
	return err
}

// dependencies reads "depends" and "softdep" of a module's .modinfo section.
func dependencies(image []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return nil, err
	}
	section := f.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("no .modinfo section")
	}
	info, err := section.Data()
	if err != nil {
		return nil, err
	}
	var deps []string
	for entry := range bytes.SplitSeq(info, []byte{0}) {
		key, value, _ := strings.Cut(string(entry), "=")
		switch key {
		case "depends":
			deps = append(deps, strings.FieldsFunc(value, func(r rune) bool { return r == ',' })...)
		case "softdep":
			// "pre: a b post: c"
			for _, f := range strings.Fields(value) {
				if !strings.HasSuffix(f, ":") {
					deps = append(deps, f)
				}
			}
		}
	}
	for i := range deps {
		deps[i] = moduleName(deps[i])
	}
	return deps, nil
}

// write writes the named modules below folder, packed as they are in the package
// or unpacked.
func (ms modules) write(folder string, names []string, packed bool) error {
	for _, name := range names {
		m := ms[name]
		file, content := m.path, m.raw
		if !packed {
			file, content = strings.TrimSuffix(file, ".xz"), m.elf
		}
		file = filepath.Join(folder, strings.TrimPrefix(file, "kernel/"))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}
