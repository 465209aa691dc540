package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bulkhead-os/bulkhead/images"
)

// errorList collects what is wrong so that all of it is told at once.
type errorList []error

func (l *errorList) add(format string, args ...any) { *l = append(*l, fmt.Errorf(format, args...)) }

func (l errorList) join() error { return errors.Join(l...) }

// levels returns for each service how many services have to be ready before
// it, one after the other.
func levels(decls []images.Declaration) (map[string]int, error) {
	after := make(map[string][]string)
	for _, d := range decls {
		after[d.Name] = d.Service.After
	}
	var errs errorList
	for _, d := range decls {
		for _, dep := range d.Service.After {
			if _, ok := after[dep]; !ok {
				errs.add("service %s: waits for %s, which does not exist", d.Name, dep)
			}
		}
	}
	if len(errs) > 0 {
		return nil, errs.join()
	}

	level := make(map[string]int)
	// visit computes the level of name; path are the services that led to it.
	var visit func(name string, path []string) error
	visit = func(name string, path []string) error {
		if _, done := level[name]; done {
			return nil
		}
		if i := slices.Index(path, name); i >= 0 {
			return fmt.Errorf("services wait for each other: %s", strings.Join(append(path[i:], name), " → "))
		}
		highest := -1
		for _, dep := range after[name] {
			if err := visit(dep, append(path, name)); err != nil {
				return err
			}
			highest = max(highest, level[dep])
		}
		level[name] = highest + 1
		return nil
	}
	for _, d := range decls {
		if err := visit(d.Name, nil); err != nil {
			return nil, err
		}
	}
	return level, nil
}

// prioritise sets the services' priorities.
func prioritise(services []Service) {
	chain := make(map[string]int) // how many services wait for it, one after the other
	for range services {          // No chain is longer than that.
		for _, s := range services {
			for _, dep := range s.Decl.After {
				chain[dep] = max(chain[dep], chain[s.Name]+1)
			}
		}
	}
	for i, s := range services {
		services[i].Priority = chain[s.Name]
		if s.Engine() {
			services[i].Priority += len(services)
		}
	}
}
