package cli

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/sysdocker/control"
)

// consolePlaces is orchestrated with three consoles, two of them with one name.
func consolePlaces(t *testing.T) (p places, system *fakeEngine, requests func() []control.Request) {
	p, engines, requests := orchestrated(t)
	system = engines["system"]
	labels := func(name, kept string) map[string]string {
		return map[string]string{images.LabelConsole: name, images.LabelKept: kept}
	}
	system.images = map[string]dockerapi.Image{
		"full:1":   {ID: "sha256:f1f1f1f1f1f1f1f1", Labels: labels("full", "true")},
		"twin:1":   {ID: "sha256:a1a1a1a1a1a1a1a1", Labels: labels("twin", "")},
		"twin:2":   {ID: "sha256:a2a2a2a2a2a2a2a2", Labels: labels("twin", "")},
		"nobody:1": {ID: "sha256:00"},
	}
	p.imageIndex = filepath.Join(t.TempDir(), "index.json")
	index := `{"images": [{"name": "console", "ref": "bulkhead/console:1", "manifest": "sha256:c0c0c0c0c0c0c0c0", "archive": "console.tar"}]}`
	p.root = t.TempDir()
	p.kernelLine = filepath.Join(p.root, "cmdline")
	for file, text := range map[string]string{p.imageIndex: index, p.kernelLine: "", p.records: "{}"} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return p, system, requests
}

func TestConsoleCommands(t *testing.T) {
	const stopped, full = `{"console": {"stopped": true}}`, `{"console": {"image": "sha256:f1f1f1f1f1f1f1f1"}}`
	upgrade := func(image string) []control.Request {
		return []control.Request{{Verb: control.Upgrade, Service: "console", Image: image}}
	}
	tests := []struct {
		args    string
		records string // of the service; of a machine with the default console if empty
		code    int
		want    string // part of what is printed
		asks    []control.Request
		key     string // rancher.console in the file, afterwards
	}{
		{args: "list", want: "*   default   c0c0c0c0c0c0   yes         last until the next boot\n    full      f1f1f1f1f1f1               last over reboots\n"},
		{args: "list", records: full, want: "*   full      f1f1"},
		{args: "list", records: stopped, want: "*   none      -"},
		{args: "list --json", want: "\"name\": \"default\",\n    \"image\": \"sha256:c0c0c0c0c0c0c0c0\",\n    \"running\": true,\n    \"enabled\": true,"},
		{args: "switch --yes full", want: "Console full runs.", asks: upgrade("sha256:f1f1f1f1f1f1f1f1")},
		{args: "switch -f default", records: full, asks: upgrade("")},
		{args: "switch -y default", want: "default runs already", key: "default"},
		{args: "switch -y none", asks: []control.Request{{Verb: control.Stop, Service: "console"}}},
		{args: "switch -y default", records: stopped, asks: []control.Request{{Verb: control.Start, Service: "console"}}},
		{args: "switch -y full", records: stopped, asks: upgrade("sha256:f1f1f1f1f1f1f1f1")},
		{args: "switch full", code: exitUsage, want: "this one too. Log in again after some seconds. If that is meant, say --yes"},
		{args: "switch -y nobody:1", code: exitFailed, want: "is no console"},
		{args: "switch -y nonesuch", code: exitFailed, want: "nonesuch is neither a file nor an image in System Docker"},
		{args: "switch", code: exitUsage, want: "takes 1 arguments"},
		{args: "enable full", want: "The next boot has console full.", key: "full"},
		{args: "enable full:1", key: "full"},
		{args: "enable none", key: "none"},
		{args: "enable twin:2", key: "sha256:a2a2a2a2a2a2a2a2"},
		{args: "switch --generate-bash-completion", want: "default\nfull\ntwin\ntwin\nnone\n--yes\n"},
	}
	for _, tt := range tests {
		t.Run(tt.args+" "+tt.records, func(t *testing.T) {
			p, _, requests := consolePlaces(t)
			if tt.records != "" {
				if err := os.WriteFile(p.records, []byte(tt.records), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			code, stdout, stderr := ros(p, append([]string{"console"}, strings.Fields(tt.args)...)...)
			if code != tt.code || !strings.Contains(stdout+stderr, tt.want) {
				t.Errorf("exit code %d, %s%s; want %d, %q", code, stdout, stderr, tt.code, tt.want)
			}
			if diff := cmp.Diff(tt.asks, requests()); diff != "" {
				t.Errorf("requests: %s", diff)
			}
			file, err := os.ReadFile(filepath.Join(p.root, layout.CloudConfig))
			if tt.key == "" && err == nil || tt.key != "" && !strings.Contains(string(file), "console: "+tt.key+"\n") {
				t.Errorf("file: %s, %v; want console %q", file, err, tt.key)
			}
		})
	}
}

func TestConsoleOfTheKernelLineCounts(t *testing.T) {
	p, _, _ := consolePlaces(t)
	if err := os.WriteFile(p.kernelLine, []byte("rancher.console=default"), 0o644); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := ros(p, "console", "enable", "full")
	if code != exitFailed || !strings.Contains(stderr, "rancher.console is set to full, but kernel command line says default") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
}

func TestConsoleExec(t *testing.T) {
	runs := dockerapi.Container{Name: "console", State: dockerapi.Running}
	tests := []struct {
		name       string
		args       []string
		containers []dockerapi.Container
		want       []string // the arguments begin so
		end        []string
	}{
		{name: "shell", containers: []dockerapi.Container{runs}, want: []string{"system-docker", "exec"}, end: []string{"--tty=false", "console", "/bin/bash", "-l"}},
		{name: "command", args: []string{"ls", "-l"}, containers: []dockerapi.Container{runs}, want: []string{"system-docker", "exec"}, end: []string{"console", "ls", "-l"}},
		{name: "fresh", args: []string{"--fresh", "id"}, containers: []dockerapi.Container{runs}, want: []string{"system-docker", "run", "--rm"}, end: []string{"bulkhead/console:1", "id"}},
		{name: "none", args: []string{"id"}, want: []string{"system-docker", "run", "--rm"}, end: []string{"bulkhead/console:1", "id"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, system, _ := consolePlaces(t)
			system.containers = tt.containers
			system.images["bulkhead/console:1"] = dockerapi.Image{ID: "sha256:c0c0c0c0c0c0c0c0"}
			var file string
			var got []string
			p.exec = func(f string, args []string) error {
				file, got = f, args
				return errors.New("no such program")
			}
			code, _, stderr := ros(p, append([]string{"console", "exec"}, tt.args...)...)
			if code != exitFailed || !strings.Contains(stderr, "no such program") || file != "/bulkhead/engine/bin/system-docker" {
				t.Errorf("exit code %d, %s, ran %s", code, stderr, file)
			}
			if len(got) < len(tt.want)+len(tt.end) || !slices.Equal(got[:len(tt.want)], tt.want) || !slices.Equal(got[len(got)-len(tt.end):], tt.end) {
				t.Errorf("arguments %q; want %q … %q", got, tt.want, tt.end)
			}
			if tt.want[1] == "run" && !slices.Contains(got, "--volume=/home:/home:rshared") {
				t.Errorf("arguments %q have not the console's mounts", got)
			}
		})
	}
}
