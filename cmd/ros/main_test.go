package main

import (
	"maps"
	"path"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-os/bulkhead/images"
)

// Each program has its link in the layer ros, at the path that the rest of the
// OS uses, and each link there leads to a program.
func TestPrograms(t *testing.T) {
	layers, err := images.LoadLayers()
	if err != nil {
		t.Fatal(err)
	}
	links := maps.Clone(layers["ros"].Links)
	maps.DeleteFunc(links, func(link, _ string) bool { return path.Dir(link) != "/usr/lib/bulkhead" })
	want := make(map[string]string)
	for name := range programs {
		if name != "ros" {
			want["/usr/lib/bulkhead/"+name] = "../../bin/ros"
		}
	}
	if diff := cmp.Diff(want, links); diff != "" {
		t.Errorf("images/ros/layer.yml and cmd/ros/main.go (-program +link):\n%s", diff)
	}
	for link := range layers["ros"].Links {
		if programs[path.Base(link)] == nil {
			t.Errorf("images/ros/layer.yml: %s: no such program in cmd/ros/main.go", link)
		}
	}
}
