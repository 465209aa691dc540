package plan

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-os/bulkhead/images"
)

func TestWithEngines(t *testing.T) {
	decls, index := machine()
	i := slices.IndexFunc(decls, func(d images.Declaration) bool { return d.Name == "docker" })
	decls[i].Service.Volumes = []string{
		"/var/lib/user-docker:/var/lib/docker:rshared", "/run/user-docker:/run/user-docker:rshared", "/tmp:/tmp:rshared",
		"/home:/home:rshared", "/dev:/dev:ro,rslave", "/etc/docker:/etc/docker:ro", "/run/bulkhead:/run/bulkhead:ro",
	}
	more, all, err := WithEngines(decls, index, map[string]int{"docker-ci": 2})
	if err != nil {
		t.Fatal(err)
	}
	if len(more) != len(decls)+1 || len(all.Images) != len(index.Images)+1 {
		t.Fatalf("%d declarations and %d images; want one more of each", len(more), len(all.Images))
	}
	list, err := Services(more, all, boot)
	if err != nil {
		t.Fatal(err)
	}
	i = slices.IndexFunc(list, func(s Want) bool { return s.Name == "docker-ci" })
	if i < 0 {
		t.Fatal("no service docker-ci")
	}
	s := list[i]
	if s.Engine() || s.Once() || s.Image.Ref != "bulkhead/docker:1" {
		t.Errorf("service %+v", s)
	}
	text, err := json.MarshalIndent(s.Spec, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "spec-further-engine.json", string(text)+"\n")

	// It stops before what its containers need, and the first is as it was.
	order := func(name string) int {
		return slices.IndexFunc(StopOrder(list), func(group []Want) bool {
			return slices.ContainsFunc(group, func(s Want) bool { return s.Name == name })
		})
	}
	if order("docker-ci") >= order("network") && order("docker-ci") >= 0 {
		t.Errorf("docker-ci stops in group %d, network in %d", order("docker-ci"), order("network"))
	}
	before, err := Services(decls, index, boot)
	if err != nil {
		t.Fatal(err)
	}
	rest := slices.DeleteFunc(slices.Clone(list), func(s Want) bool { return s.Name == "docker-ci" })
	for i := range rest {
		if diff := cmp.Diff(before[i].Spec, rest[i].Spec); diff != "" {
			t.Errorf("%s: %s", rest[i].Name, diff)
		}
	}
}

func TestWithEnginesButNoFirst(t *testing.T) {
	if _, _, err := WithEngines(nil, images.Index{}, map[string]int{"docker-ci": 1}); err == nil || !strings.Contains(err.Error(), "no service docker") {
		t.Errorf("error = %v", err)
	}
	if _, _, err := WithEngines(nil, images.Index{}, nil); err != nil {
		t.Error(err)
	}
}

func TestEngineAddress(t *testing.T) {
	if got := EngineAddress(1, MachineEnd) + " " + EngineAddress(MaxEngines, EngineEnd); got != "10.209.0.5 10.209.0.254" {
		t.Errorf("addresses %s", got)
	}
}
