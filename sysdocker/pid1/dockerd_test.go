package pid1

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-os/bulkhead/internal/layout"
)

var update = flag.Bool("update", false, "write golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-update writes it):\n%s", path, diff)
	}
}

func TestDaemonArgs(t *testing.T) {
	for name, c := range map[string]daemonConfig{
		"built-in.args":   {},
		"log-driver.args": {path: layout.SystemDaemonConfig, keys: []string{"debug", "log-driver"}},
	} {
		t.Run(name, func(t *testing.T) {
			golden(t, name, []byte(strings.Join(daemonArgs(c), "\n")+"\n"))
		})
	}
}

// The daemon's default is the user tier's file, whose settings would move
// System Docker's socket and data.
func TestDaemonArgsAlwaysNameAFile(t *testing.T) {
	for _, arg := range daemonArgs(daemonConfig{}) {
		if arg == "--config-file=" {
			return
		}
	}
	t.Error("no --config-file among the arguments")
}

func TestReadDaemonConfig(t *testing.T) {
	tests := []struct {
		name, content string
		keys          []string
		bad           bool
	}{
		{"keys", `{"log-driver": "json-file", "debug": true}`, []string{"debug", "log-driver"}, false},
		{"empty object", `{}`, nil, false},
		{"no JSON", `debug = true`, nil, true},
		{"empty", ``, nil, true},
		{"list", `[]`, nil, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "system-docker.json")
			if err := os.WriteFile(path, []byte(tt.content), 0o644); err != nil {
				t.Fatal(err)
			}
			c, err := readDaemonConfig(path)
			if (err != nil) != tt.bad {
				t.Fatalf("readDaemonConfig() = %+v, %v", c, err)
			}
			if diff := cmp.Diff(tt.keys, c.keys); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestContainerdConfig(t *testing.T) {
	got, err := containerdConfig(containerdPaths{Root: "/r", State: "/s", Socket: "/s.sock"})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "containerd.toml", got)
}
