package userdocker

import (
	"os"
	"path/filepath"
	"testing"
)

func TestOwnCgroups(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{"cgroup.procs": "1\n17\n", "cgroup.controllers": "cpu memory pids\n"} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(root, "engine"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"engine/cgroup.procs", "cgroup.subtree_control"} { // the kernel's
		if err := os.WriteFile(filepath.Join(root, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := ownCgroups(root); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"engine/cgroup.procs": "17", "cgroup.subtree_control": "+cpu +memory +pids"} {
		if got, err := os.ReadFile(filepath.Join(root, name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v; want %q", name, got, err, want)
		}
	}
}

func TestFirstEngineHasTheMachinesNetwork(t *testing.T) {
	t.Setenv("USER_ENGINE_DEVICE", "")
	if f := readFurther(); !f.isFirst() || f.own(t.Context()) != nil {
		t.Errorf("first engine: %+v", f)
	}
	t.Setenv("USER_ENGINE_DEVICE", "engine2")
	t.Setenv("USER_ENGINE_ADDRESS", "10.209.0.10")
	t.Setenv("USER_ENGINE_GATEWAY", "10.209.0.9")
	if f, want := readFurther(), (further{"engine2", "10.209.0.10", "10.209.0.9"}); f != want || f.isFirst() || f.table() != "bulkhead-engine2" {
		t.Errorf("second engine: %+v; want %+v", f, want)
	}
}
