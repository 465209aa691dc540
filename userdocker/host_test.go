package userdocker

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

func TestListen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "docker.sock")
	for range 2 { // the second finds the first one's file
		l, err := listen(path, "0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fi.Mode(), os.ModeSocket|0o660; got != want {
		t.Errorf("mode %v; want %v", got, want)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if _, err := listen(path, "no-such-group"); err == nil {
		t.Error("listen for an unknown group: no error")
	}
}

func TestKillLeftovers(t *testing.T) {
	root, data := t.TempDir(), t.TempDir()
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	killed := func(cgroup string) bool {
		raw, _ := os.ReadFile(root + cgroup + "/cgroup.kill")
		return string(raw) == "1"
	}
	write(root+"/containers/a/cgroup.events", "populated 1\nfrozen 0\n")
	write(root+"/containers/a/cgroup.kill", "")
	write(root+"/containers/b/cgroup.events", "populated 0\nfrozen 0\n")
	write(root+"/shims/engine/cgroup.events", "populated 1\n")
	write(root+"/shims/engine/cgroup.kill", "")
	write(root+"/system/c/cgroup.events", "populated 1\n")
	write(root+"/system/c/cgroup.kill", "")
	write(containerdDatabase(data), "")

	if n, err := killLeftovers(root, data, false); n != 0 || err != nil || killed("/containers/a") {
		t.Errorf("with a database: killed %d, %v; want none", n, err)
	}
	if err := os.Remove(containerdDatabase(data)); err != nil {
		t.Fatal(err)
	}
	if n, err := killLeftovers(root, data, false); n != 2 || err != nil {
		t.Errorf("without a database: killed %d, %v; want 2", n, err)
	}
	if !killed("/containers/a") || !killed("/shims/engine") || killed("/system/c") {
		t.Errorf("killed a %t, shims %t, OS service %t; want true, true, false",
			killed("/containers/a"), killed("/shims/engine"), killed("/system/c"))
	}
	write(containerdDatabase(data), "")
	if n, err := killLeftovers(root, data, true); n != 2 || err != nil {
		t.Errorf("another engine is to start: killed %d, %v; want 2", n, err)
	}
}

func TestWitness(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	w := witness{files: []string{a, b}}
	step := func(what string, want bool) {
		t.Helper()
		if got := w.lost(); got != want {
			t.Errorf("%s: lost() = %t; want %t", what, got, want)
		}
	}
	step("no file yet", false)
	if err := os.WriteFile(a, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	step("a is new", false)
	if err := os.WriteFile(b, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	step("b is new", false)
	if err := os.Remove(a); err != nil {
		t.Fatal(err)
	}
	step("a is gone", true)
}
