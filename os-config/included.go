package osconfig

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/bulkhead-os/bulkhead/internal/layout"
)

// A Selection is all services that a configuration knows of.
type Selection struct {
	Services map[string]Service
	// From says which key of rancher.services_include brought a service, and
	// Off which services such a key switches off.
	From map[string]string
	Off  map[string]bool
	// Missing are keys that are on and have no file.
	Missing []string
	// Problems are those of the files.
	Problems []Problem
}

// Complete reports whether no service can be missing because of a mistake.
func (s Selection) Complete() bool {
	return len(s.Missing) == 0 && !AnyError(s.Problems)
}

// Select returns the entries of rancher.services and the services in the files
// that rancher.services_include names: by path, by address, whose file has been
// fetched, or by the name of a file in layout.ServicesDir or in the catalogue,
// in this order. Of services with one name the entry counts, then the first
// file. root is "" on the running system.
func (r Rancher) Select(root string, catalogue func(name string) ([]byte, error)) Selection {
	s := Selection{Services: maps.Clone(r.Services), From: make(map[string]string), Off: make(map[string]bool)}
	if s.Services == nil {
		s.Services = make(map[string]Service)
	}
	keys := slices.Sorted(maps.Keys(r.ServicesInclude))
	// What is on is not to give way to what is off.
	slices.SortStableFunc(keys, func(a, b string) int {
		switch on := r.ServicesInclude; {
		case on[a] == on[b]:
			return 0
		case on[a]:
			return -1
		}
		return 1
	})
	for _, key := range keys {
		on := r.ServicesInclude[key]
		text, source, err := readIncluded(root, key, catalogue)
		problem := func(format string, args ...any) {
			s.Problems = append(s.Problems, Problem{Source: source, Text: fmt.Sprintf(format, args...)})
		}
		switch {
		case !on && err != nil:
			continue // what is off need not be there
		case errors.Is(err, fs.ErrNotExist):
			s.Missing = append(s.Missing, key)
			continue
		case err != nil:
			problem("none of its services runs: %v", err)
			continue
		}
		services, problems := ParseServices(source, text)
		s.Problems = append(s.Problems, problems...)
		for _, name := range slices.Sorted(maps.Keys(services)) {
			if _, taken := s.Services[name]; taken {
				if other := s.From[name]; on && other != "" {
					problem("service %s: %s has one of this name, which counts", name, other)
				} else if on {
					problem("service %s: rancher.services has one of this name, which counts", name)
				}
				continue
			}
			s.Services[name], s.From[name] = services[name], key
			if !on {
				s.Off[name] = true
			}
		}
	}
	return s
}

// readIncluded reads the file that a key of rancher.services_include names, and
// returns where it is. fs.ErrNotExist means that it is nowhere.
func readIncluded(root, key string, catalogue func(name string) ([]byte, error)) (text []byte, source string, err error) {
	source = StoredServices(key)
	text, err = ReadFile(filepath.Join(root, source))
	if errors.Is(err, fs.ErrNotExist) && IsServiceName(key) {
		stored := err
		if text, err = catalogue(key); err != nil {
			return nil, source, stored
		}
		source = "catalogue/" + key + ".yml"
	}
	return text, source, err
}

// StoredServices is the file of a key of rancher.services_include: the path
// that it is, or a file in layout.ServicesDir.
func StoredServices(key string) string {
	switch {
	case strings.HasPrefix(key, "/"):
		return path.Clean(key)
	case IsServiceURL(key):
		return fmt.Sprintf("%s/%.8x.yml", layout.ServicesDir, sha256.Sum256([]byte(key)))
	}
	return path.Join(layout.ServicesDir, path.Base(key)+".yml")
}

// IsServiceURL reports whether a key of rancher.services_include is an address.
func IsServiceURL(key string) bool { return strings.Contains(key, "://") }

// IsServiceName reports whether a key is a name that a file can have.
func IsServiceName(key string) bool {
	return key != "" && strings.Trim(key, ".") != "" && !strings.ContainsAny(key, "/\x00") && len(key) < 200
}

// ParseServices reads a file of services: Compose's of version 1, which is
// RancherOS's, with a service under each key, or one of the Compose
// specification with all of them under services.
func ParseServices(source string, text []byte) (map[string]Service, []Problem) {
	d := decoder{source: source}
	services := make(map[string]Service)
	root, ok := d.parse(text)
	if !ok || root == nil {
		if ok {
			d.problem(nil, "", "there is no service in it")
		}
		return nil, d.problems
	}
	prefix := ""
	if below := valueOf(root, "services"); below != nil && valueOf(below, "image") == nil {
		d.composeFile(root)
		root, prefix = below, "services"
	}
	d.decode(root, reflect.ValueOf(&services).Elem(), prefix)
	for _, name := range slices.Sorted(maps.Keys(services)) {
		if services[name].Image == "" {
			d.problem(nil, join(prefix, name), "it names no image")
			delete(services, name)
		}
	}
	if len(services) == 0 && len(d.problems) == 0 {
		d.problem(root, "", "there is no service in it")
	}
	return services, d.problems
}

// IsServices reports whether a text is a file of services rather than a
// cloud-config.
func IsServices(text []byte) bool {
	root, _ := new(decoder).parse(text)
	if root == nil || len(root.Content) == 0 {
		return false
	}
	if below := valueOf(root, "services"); below != nil && below.Kind == yaml.MappingNode && valueOf(root, "rancher") == nil {
		return true
	}
	for i := 1; i < len(root.Content); i += 2 {
		if valueOf(root.Content[i], "image") == nil {
			return false
		}
	}
	return true
}

// composeFile looks at what a file of the Compose specification has beside its
// services.
func (d *decoder) composeFile(root *yaml.Node) {
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], resolve(root.Content[i+1])
		switch name := key.Value; {
		case name == "services", name == "version", name == "name", strings.HasPrefix(name, "x-"):
		case name == "networks", name == "volumes":
			if value.Kind != yaml.MappingNode {
				continue
			}
			for j := 0; j+1 < len(value.Content); j += 2 {
				if settings := resolve(value.Content[j+1]); !isNull(settings) && len(settings.Content) > 0 && valueOf(settings, "external") == nil {
					d.warn(settings, join(name, value.Content[j].Value), "no effect, it is made as the daemon makes it; to have another, make it with docker first")
				}
			}
		default:
			d.problem(key, name, "unknown here; expected services, networks, volumes")
		}
	}
}

// valueOf is what a mapping has under a key, or nil.
func valueOf(n *yaml.Node, key string) *yaml.Node {
	n = resolve(n)
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return resolve(n.Content[i+1])
		}
	}
	return nil
}
