package cloudinit

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-os/bulkhead/internal/blockdev"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
	"github.com/bulkhead-os/bulkhead/os-config/datasource"
)

func TestChoose(t *testing.T) {
	device := func(name, kind, label string) blockdev.Device {
		return blockdev.Device{Name: name, Path: "/dev/" + name, Info: blockdev.Info{Type: kind, Label: label}}
	}
	state, seed := device("vda1", "ext4", "RANCHER_STATE"), device("sr0", "iso9660", "cidata")
	tests := []struct {
		name    string
		devices []blockdev.Device
		want    string
	}{
		{"none", []blockdev.Device{state}, ""},
		{"seed disk", []blockdev.Device{state, seed}, "sr0 cidata"},
		{"FAT label", []blockdev.Device{device("vdb", "vfat", "CIDATA")}, "vdb cidata"},
		{"config drive first", []blockdev.Device{seed, device("vdb", "vfat", "CONFIG-2")}, "vdb config-2"},
		{"the first of two", []blockdev.Device{seed, device("vdb", "iso9660", "cidata")}, "sr0 cidata"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dev, source, _ := choose(tt.devices)
			if got := strings.TrimSpace(dev.Name + " " + source.Label); got != tt.want {
				t.Errorf("choose = %q; want %q", got, tt.want)
			}
		})
	}
}

func TestStore(t *testing.T) {
	root := t.TempDir()
	const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFh"
	meta := osconfig.Metadata{Datasource: "cidata", Hostname: "h", PublicKeys: []string{key}}
	if err := store(root, meta, datasource.UserData{Config: []byte("hostname: a\n")}); err != nil {
		t.Fatal(err)
	}
	cfg, problems, err := osconfig.Load(root, "")
	if err != nil || len(problems) > 0 || cfg.Hostname != "a" || !cmp.Equal(cfg.SSHAuthorizedKeys, osconfig.KeyList{key}) {
		t.Errorf("configuration = %v, problems %v, error %v; want host name a and key k", cfg, problems, err)
	}

	// The next boot's disk has a script instead: no trace of the old data stays.
	if err := store(root, osconfig.Metadata{}, datasource.UserData{Script: []byte("#!/bin/sh\n")}); err != nil {
		t.Fatal(err)
	}
	modes := map[string]fs.FileMode{}
	for _, path := range []string{layout.UserData, layout.UserScript, layout.Metadata} {
		info, err := os.Stat(filepath.Join(root, path))
		if err == nil {
			modes[path] = info.Mode()
		} else if !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	}
	want := map[string]fs.FileMode{layout.UserScript: 0o700, layout.Metadata: 0o600}
	if diff := cmp.Diff(want, modes); diff != "" {
		t.Errorf("files and modes (-want +got):\n%s", diff)
	}
}

func TestWriteNames(t *testing.T) {
	dir := t.TempDir()
	hostsFile := filepath.Join(dir, "hosts")
	if err := os.WriteFile(hostsFile, []byte(strings.Repeat("old\n", 100)), 0o644); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(hostsFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := writeNames(dir, "web1.example.org"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(hostsFile)
	if err != nil {
		t.Fatal(err)
	}
	if want := "\n127.0.1.1 web1.example.org web1\n"; !strings.Contains(string(text), want) || strings.Contains(string(text), "old") {
		t.Errorf("hosts = %q; want %q and nothing old", text, want)
	}
	after, err := os.Stat(hostsFile)
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(before, after) {
		t.Error("hosts is a new file; containers that bind it would keep the old one")
	}
}
