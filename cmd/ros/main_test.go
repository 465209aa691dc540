package main

import (
	"maps"
	"path"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-os/bulkhead/images"
)

// Each program has a link in the layer ros, and no link leads to ros itself by
// a name that is no program.
func TestPrograms(t *testing.T) {
	layers, err := images.LoadLayers()
	if err != nil {
		t.Fatal(err)
	}
	linked := []string{"ros"} // the binary itself
	for link := range layers["ros"].Links {
		if path.Dir(link) == "/usr/lib/bulkhead" {
			linked = append(linked, path.Base(link))
		} else if programs[path.Base(link)] == nil {
			t.Errorf("images/ros/layer.yml: %s is no program of cmd/ros/main.go", link)
		}
	}
	slices.Sort(linked)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(programs)), linked); diff != "" {
		t.Errorf("links of images/ros/layer.yml (-program +link):\n%s", diff)
	}
}
