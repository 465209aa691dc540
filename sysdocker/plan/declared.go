package plan

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	"github.com/bulkhead-os/bulkhead/sysdocker/spec"
)

// Services turns declarations into what their containers should be, in an order
// in which every service comes after those that it waits for; services of one
// level are sorted by name. Services that cannot run are left out, and the error
// names each of them and why.
func Services(decls []images.Declaration, index images.Index, bootID string) ([]Want, error) {
	if err := checkAfter(decls); err != nil {
		return nil, err
	}
	levels, err := images.Levels(decls)
	if err != nil {
		return nil, err
	}
	var services []Want
	var errs []error
	for _, d := range decls {
		i := slices.IndexFunc(index.Images, func(e images.IndexEntry) bool { return e.Name == d.Name })
		if i < 0 {
			errs = append(errs, fmt.Errorf("service %s: no image of this name in the index of shipped images", d.Name))
			continue
		}
		made, err := declared(d, index.Images[i], bootID)
		if err != nil {
			errs = append(errs, fmt.Errorf("service %s: %w", d.Name, err))
			continue
		}
		services = append(services, Want{
			Name: d.Name, Container: d.Name, System: true, After: d.Service.After,
			Decl: d.Service, Image: index.Images[i], Spec: made, Level: levels[d.Name],
		})
	}
	prioritise(services)
	slices.SortFunc(services, func(a, b Want) int {
		return cmp.Or(a.Level-b.Level, strings.Compare(a.Name, b.Name))
	})
	return services, errors.Join(errs...)
}

// checkAfter reports services that wait for one that does not exist.
func checkAfter(decls []images.Declaration) error {
	var errs []error
	for _, d := range decls {
		for _, dep := range d.Service.After {
			if !slices.ContainsFunc(decls, func(other images.Declaration) bool { return other.Name == dep }) {
				errs = append(errs, fmt.Errorf("service %s: waits for %s, which does not exist", d.Name, dep))
			}
		}
	}
	return errors.Join(errs...)
}

// prioritise sets the services' priorities.
func prioritise(services []Want) {
	chain := make(map[string]int) // how many services wait for it, one after the other
	for range services {          // No chain is longer than that.
		for _, s := range services {
			for _, dep := range s.After {
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

// declared is what a service's container is created from, with the labels by
// which it is known again.
func declared(d images.Declaration, image images.IndexEntry, bootID string) (dockerapi.Spec, error) {
	labels := map[string]string{LabelService: d.Name}
	s, err := spec.Declared(d, image.Ref, labels)
	if err == nil {
		labels[LabelSpec], err = spec.Hash(s)
	}
	if d.Service.Ephemeral || d.Service.Restart == "no" {
		labels[LabelBoot] = bootID
	}
	return s, err
}
