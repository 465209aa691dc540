package iso

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/iso/debian"
)

// A recipe is one layer to make: its declaration and the names of the layers
// whose packages it finds below itself.
type recipe struct {
	name  string
	image images.Image
	// shared says that the layer belongs to several images.
	shared bool
}

// recipes lists the layers in build order: shared ones, then services.
func recipes(shared map[string]images.Image, decls []images.Declaration) []recipe {
	var out []recipe
	for _, name := range images.LayerOrder() {
		out = append(out, recipe{name: name, image: shared[name], shared: true})
	}
	for _, d := range decls {
		out = append(out, recipe{name: d.Name, image: d.Image})
	}
	return out
}

// wanted are the packages that must be resolved together for a layer: its own
// and those of the layers below.
func (r recipe) wanted(shared map[string]images.Image) []string {
	names := slices.Clone(r.image.Packages)
	for _, l := range r.image.Layers {
		names = append(names, shared[l].Packages...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// subtract removes the packages that lower layers have already. A lower layer
// with another version of a package would be a mix that nobody tested.
func subtract(name string, pkgs []debian.Package, lower ...[]debian.Package) ([]debian.Package, error) {
	have := make(map[string]string)
	for _, l := range lower {
		for _, p := range l {
			have[p.Name] = p.Version
		}
	}
	var own []debian.Package
	for _, p := range pkgs {
		version, ok := have[p.Name]
		if ok && version != p.Version {
			return nil, fmt.Errorf("layer %s: %s %s, but %s in a lower layer", name, p.Name, p.Version, version)
		}
		if !ok {
			own = append(own, p)
		}
	}
	return own, nil
}

// union merges lists of packages, sorted by name.
func union(lists ...[]debian.Package) []debian.Package {
	all := make(map[string]debian.Package)
	for _, l := range lists {
		for _, p := range l {
			all[p.Name+" "+p.Version] = p
		}
	}
	return slices.SortedFunc(maps.Values(all), func(a, b debian.Package) int {
		return strings.Compare(a.Name+" "+a.Version, b.Name+" "+b.Version)
	})
}

// allUsers are the users of all services, each once.
func allUsers(decls []images.Declaration) []images.User {
	seen := make(map[string]bool)
	var users []images.User
	for _, d := range decls {
		for _, u := range d.Image.Users {
			if !seen[u.Name] {
				seen[u.Name] = true
				users = append(users, u)
			}
		}
	}
	return users
}
