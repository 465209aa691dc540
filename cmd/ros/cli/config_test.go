package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-os/bulkhead/internal/layout"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

// configPlaces is a machine with a configuration.
func configPlaces(t *testing.T, text string) (p places, file string) {
	t.Helper()
	p.root = t.TempDir()
	p.kernelLine = filepath.Join(p.root, "cmdline")
	if err := os.WriteFile(p.kernelLine, []byte("quiet rancher.ssh.port=2200\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(p.root, layout.CloudConfig)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return p, file
}

// rosInput runs the command with standard input.
func rosInput(p places, stdin string, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	app := p.app(&out, &errs)
	app.Reader = strings.NewReader(stdin)
	err := app.RunContext(context.Background(), append([]string{"ros"}, args...))
	return exitCode(err, &errs), out.String(), errs.String()
}

const machineText = "#cloud-config\nhostname: web1 # short\nrancher:\n  password: hunter2\n  services:\n    web: {image: nginx}\n    db: {image: postgres}\n"

func TestConfigExportOfTheBoot(t *testing.T) {
	p, _ := configPlaces(t, machineText)
	for file, text := range map[string]string{
		layout.UserData: "hostname: other\ntimezone: Europe/Berlin\n",
		layout.CloudConfigDir + "/boot-10-net.yml": "rancher: {network: {dns: {search: [a.b]}}}\n",
		layout.CloudConfigDir + "/mine.yml":        "runcmd: [a]\n",
	} {
		path := filepath.Join(p.root, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	code, stdout, stderr := rosInput(p, "", "config", "export", "--boot")
	if want := "timezone: Europe/Berlin\nrancher:\n  network:\n    dns:\n      search:\n        - a.b\n"; code != exitOK || stdout != want {
		t.Errorf("exit code %d, %s\n%s\nwant\n%s", code, stderr, stdout, want)
	}
	if code, _, _ := rosInput(p, "", "config", "export", "--boot", "--full"); code != exitUsage {
		t.Errorf("--boot --full: exit code %d; want %d", code, exitUsage)
	}
}

func TestConfigReads(t *testing.T) {
	p, file := configPlaces(t, machineText)
	bad := filepath.Join(t.TempDir(), "bad.yml")
	if err := os.WriteFile(bad, []byte("hostnam: a\nrancher: {rm_usr: true}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name           string
		stdin          string
		args           []string
		code           int
		stdout, stderr string
	}{
		{"get", "", []string{"get", "hostname"}, exitOK, "web1\n", ""},
		{"get a default", "", []string{"get", "rancher.ssh.daemon"}, exitOK, "true\n", ""},
		{"get from the kernel line", "", []string{"get", "rancher.ssh.port"}, exitOK, "2200\n", ""},
		{"get a map", "", []string{"get", "rancher.services"}, exitOK, "db:\n  image: postgres\nweb:\n  image: nginx\n", ""},
		{"get JSON", "", []string{"get", "--json", "rancher.services.web"}, exitOK, "{\n  \"image\": \"nginx\"\n}\n", ""},
		{"get nothing", "", []string{"get", "rancher.sysctl.a"}, exitOK, "", ""},
		{"get a secret", "", []string{"get", "rancher.password"}, exitOK, "(hidden)\n", ""},
		{"get a secret openly", "", []string{"get", "--private", "rancher.password"}, exitOK, "hunter2\n", ""},
		{"get a mistyped key", "", []string{"get", "rancher.shh"}, exitUsage, "", "ros: rancher.shh: unknown key; did you mean ssh?\nTry: ros --help\n"},
		{"get two", "", []string{"get", "a", "b"}, exitUsage, "", "ros: ros config get KEY takes 1 arguments, options before them; got 2\nTry: ros --help\n"},
		{"export", "", []string{"export"}, exitOK,
			"hostname: web1\nrancher:\n  password: (hidden)\n  ssh:\n    port: 2200\n  services:\n    db:\n      image: postgres\n    web:\n      image: nginx\n", ""},
		{"images", "", []string{"images"}, exitOK, "nginx\npostgres\n", ""},
		{"images of a file", "rancher: {services: {a: {image: x}}}", []string{"images", "-i", "-"}, exitOK, "x\n", ""},
		{"diff", "", []string{"diff", "--origin"}, exitOK, "" +
			"KEY                          VALUE      DEFAULT   SET IN\n" +
			"hostname                     web1       -         " + layout.CloudConfig + ":2\n" +
			"rancher.password             (hidden)   -         " + layout.CloudConfig + ":4\n" +
			"rancher.services.db.image    postgres   -         " + layout.CloudConfig + ":7\n" +
			"rancher.services.web.image   nginx      -         " + layout.CloudConfig + ":6\n" +
			"rancher.ssh.port             2200       22        kernel command line\n", ""},
		{"validate", "", []string{"validate", bad}, exitFailed, bad + ":1:1: hostnam: unknown key; did you mean hostname?\n" +
			bad + ":2:11: warning: rancher.rm_usr: has no effect: /usr is part of the read-only system image and never stale\n", ""},
		{"validate input", "rancher: {rm_usr: true}", []string{"validate"}, exitOK,
			"standard input:1:11: warning: rancher.rm_usr: has no effect: /usr is part of the read-only system image and never stale\n", ""},
		{"validate services", "rancher: {services: {a: {image: b, links: [c]}, c: {image: d, depends_on: [a]}, e: {image: f, net: host, ports: ['80:80']}}}",
			[]string{"validate"}, exitFailed, "standard input: rancher.services.a: waits for c, which cannot start before it\n" +
				"standard input: rancher.services.c: waits for a, which cannot start before it\n" +
				"standard input: rancher.services.e.ports: not with network_mode host\n", ""},
		{"validate the machine", "", []string{"validate", "--machine"}, exitOK, "", ""},
		{"validate JSON", "hostname: a", []string{"validate", "--json", "-"}, exitOK, "[]\n", ""},
		{"generate", "a: {{.HOME}}\n", []string{"generate"}, exitOK, "a: " + os.Getenv("HOME") + "\n", ""},
		{"syslinux", "", []string{"syslinux"}, exitFailed, "", "ros: there is no syslinux here: press e in the boot menu to change kernel parameters once, or use ros config set for the same keys\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, stderr := rosInput(p, tt.stdin, append([]string{"config"}, tt.args...)...)
			if diff := cmp.Diff([]any{tt.code, tt.stdout, tt.stderr}, []any{code, stdout, stderr}); diff != "" {
				t.Errorf("ros config %q (-want +got):\n%s", tt.args, diff)
			}
		})
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != machineText {
		t.Errorf("file = %q, %v; want it untouched", text, err)
	}
}

func TestConfigValidateJSON(t *testing.T) {
	_, stdout, _ := rosInput(places{}, "hostnam: a\n", "config", "validate", "--json")
	var got []map[string]any
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatal(err)
	}
	want := []map[string]any{{"severity": "error", "source": "standard input", "line": 1.0, "column": 1.0, "key": "hostnam", "text": "unknown key; did you mean hostname?"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
}

func TestConfigWrites(t *testing.T) {
	p, file := configPlaces(t, machineText)
	steps := []struct {
		stdin string
		args  []string
		code  int
		want  string
	}{
		{"", []string{"set", "hostname", "web2"}, exitOK, strings.Replace(machineText, "web1", "web2", 1)},
		{"", []string{"set", "rancher.ssh.port", "many"}, exitFailed, strings.Replace(machineText, "web1", "web2", 1)},
		{"hostname: web1\n", []string{"merge"}, exitOK, machineText},
		{"hostname: a b\n", []string{"merge"}, exitFailed, machineText},
		{"", []string{"set", "rancher.debug", "true"}, exitOK, machineText + "  debug: true\n"},
		{"", []string{"del", "rancher.debug"}, exitOK, machineText},
		{"", []string{"export", "--full", "--private", "--output", file + ".all"}, exitOK, machineText},
	}
	for _, s := range steps {
		code, _, stderr := rosInput(p, s.stdin, append([]string{"config"}, s.args...)...)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(s.want, string(text)); diff != "" || code != s.code || code != exitOK && stderr == "" {
			t.Errorf("ros config %q: exit code %d, %q; want %d; file (-want +got):\n%s", s.args, code, stderr, s.code, diff)
		}
	}
	for _, path := range []string{file, file + ".all"} {
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
			t.Errorf("mode of %s: %v, %v; want 0600", path, info.Mode(), err)
		}
	}
	const want = "ros: warning: rancher.rm_usr: has no effect: "
	if code, _, stderr := rosInput(p, "", "config", "set", "rancher.rm_usr", "true"); code != exitOK || !strings.HasPrefix(stderr, want) {
		t.Errorf("setting a key without effect: %d, %q; want %q", code, stderr, want)
	}
	text, err := os.ReadFile(file + ".all")
	if err != nil {
		t.Fatal(err)
	}
	cfg := osconfig.Defaults()
	cfg.Merge(file, text)
	if cfg.Rancher.Password.Reveal() != "hunter2" || cfg.Rancher.Network.DHCPTimeout != 10 {
		t.Errorf("exported: %s", text)
	}
}

func TestConfigCompletes(t *testing.T) {
	t.Setenv(wordVariable, "rancher.ssh.p")
	if _, got, _ := ros(places{}, "config", "get", "--generate-bash-completion"); got != "rancher.ssh.port\n" {
		t.Errorf("completion = %q; want rancher.ssh.port", got)
	}
}
