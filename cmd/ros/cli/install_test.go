package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-os/bulkhead/internal/disklayout"
	"github.com/bulkhead-os/bulkhead/internal/install"
	"github.com/bulkhead-os/bulkhead/internal/work"
)

func TestProgressText(t *testing.T) {
	for _, c := range []struct {
		name   string
		p      work.Progress
		passed time.Duration
		want   string
	}{
		{"a short step", work.Progress{Step: 1, Steps: 9, Name: "clear"}, time.Minute, "[1/9] clear"},
		{"too early to tell", work.Progress{Step: 2, Steps: 9, Name: "system", Done: 5e6, Total: 100e6}, time.Second / 2, "[2/9] system: 5 of 100 MB"},
		{"on the way", work.Progress{Step: 2, Steps: 9, Name: "system", Done: 20e6, Total: 100e6}, 2 * time.Second, "[2/9] system: 20 of 100 MB, 10.0 MB/s, 8s left"},
		{"nothing yet", work.Progress{Step: 2, Steps: 9, Name: "system", Total: 100e6}, 2 * time.Second, "[2/9] system: 0 of 100 MB"},
	} {
		if got := progressText(c.p, c.passed); got != c.want {
			t.Errorf("%s: %q; want %q", c.name, got, c.want)
		}
	}
}

func TestProgressIsSilentWithoutATerminal(t *testing.T) {
	var out bytes.Buffer
	bar := newProgressLine(&out)
	bar.show(work.Progress{Step: 1, Steps: 2, Name: "x"})
	bar.end()
	if out.Len() > 0 {
		t.Errorf("it writes %q", out.String())
	}
}

func TestWriteInstallation(t *testing.T) {
	parts, err := disklayout.Plan(8<<30, 512)
	if err != nil {
		t.Fatal(err)
	}
	plan := &install.Plan{Parts: parts}
	plan.Release.Version = "v1.2.3"
	plan.Disk = install.Disk{
		Path: "/dev/sda", Size: 8 << 30, Model: "Fast", Serial: "S1", GUID: "ab",
		Content: []install.Content{
			{Device: "/dev/sda1", Size: 7 << 30, Type: "ext4", Label: "RANCHER_STATE"},
			{Device: "/dev/sda2", Size: 5 << 20, Type: "LVM2_member", Name: "pool"},
		},
	}
	var out strings.Builder
	if err := writeInstallation(&out, plan); err != nil {
		t.Fatal(err)
	}
	want := `/dev/sda: 8.0 GiB, Fast, S1
All of this will be lost:
  /dev/sda1          7.0 GiB  ext4 "RANCHER_STATE": the state of a RancherOS, BurmillaOS or Bulkhead
  /dev/sda2            5 MiB  LVM2_member (pool): part of a volume group
It gets Bulkhead v1.2.3:
  bulkhead-bios            1 MiB
  bulkhead-esp            64 MiB
  bulkhead-bootstate       1 MiB
  bulkhead-a             512 MiB
  bulkhead-b             512 MiB
  bulkhead-state         1.0 GiB
  bulkhead-data          5.9 GiB
and no configuration: say one with --config, else nobody can log in.
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestRunningConfig(t *testing.T) {
	root := t.TempDir()
	for name, content := range map[string]string{
		"/var/lib/rancher/conf/cloud-config.yml":               "a",
		"/var/lib/rancher/conf/cloud-config.d/boot.yml":        "b",
		"/var/lib/rancher/conf/metadata":                       "c",
		"/var/lib/rancher/conf/cloud-config-scripts/1.boot":    "d",
		"/var/lib/rancher/conf/commands-done.json":             "not",
		"/var/lib/rancher/conf/ssh/ssh_host_ed25519_key":       "not",
		"/var/lib/rancher/conf/last-good/cloud-config.d/x.yml": "not",
	} {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files, err := places{root: root}.runningConfig()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for _, f := range files {
		got[f.Path] = string(f.Data)
	}
	want := map[string]string{
		"/var/lib/rancher/conf/cloud-config.yml":            "a",
		"/var/lib/rancher/conf/cloud-config.d/boot.yml":     "b",
		"/var/lib/rancher/conf/metadata":                    "c",
		"/var/lib/rancher/conf/cloud-config-scripts/1.boot": "d",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
