package cli

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"aead.dev/minisign"
	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/version"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
	"github.com/bulkhead-os/bulkhead/sysdocker/control"
	"github.com/bulkhead-os/bulkhead/sysdocker/plan"
)

// configure writes a machine's own file.
func configure(t *testing.T, p places, text string) {
	t.Helper()
	file := filepath.Join(p.root, layout.CloudConfig)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("#cloud-config\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestServicePlan(t *testing.T) {
	p, engines := testPlaces(t)
	label := func(name string) map[string]string { return map[string]string{plan.LabelConfigured: name} }
	engines["user"].containers = []dockerapi.Container{{ID: "o1", Name: "old", Labels: label("old")}}
	engines["system"].containers = nil
	configure(t, p, "rancher: {services: {web: {image: nginx}, agent: {image: a, pull_policy: never, labels: {io.rancher.os.scope: system}}}}\n")
	code, got, stderr := ros(p, "service", "plan")
	want := `TIER     SERVICE   ACTION             WHY
system   agent     create-container   there is none yet
system   agent     start-container    new container
user     old       remove-container   no service of this name is configured any more
user     web       pull-image nginx   needed for a new container, unless it is there
user     web       create-container   there is none yet
user     web       start-container    new container
`
	if diff := cmp.Diff(want, got); diff != "" || code != exitOK {
		t.Errorf("exit code %d, %s\n%s", code, stderr, diff)
	}
	// As long as there is a mistake nothing is removed.
	configure(t, p, "rancher: {services: {web: {image: nginx, dns: x}}, services_include: {gone: true}}\n")
	code, got, _ = ros(p, "service", "plan", "--json")
	var planned servicePlan
	if err := json.Unmarshal([]byte(got), &planned); err != nil {
		t.Fatal(err)
	}
	if code != exitFailed || len(planned.Actions) != 0 || len(planned.Problems) != 2 {
		t.Errorf("exit code %d, %s; want no action and two problems", code, got)
	}
}

func TestServiceEnable(t *testing.T) {
	p, engines, requests := orchestrated(t)
	configure(t, p, "rancher: {services: {own: {image: a}}}\n")
	ref := images.Ref("qemu-guest-agent", version.Version)
	engines["system"].loads = []string{ref}
	engines["system"].archive = map[string]dockerapi.Image{ref: {
		DiffIDs: []string{"sha256:base", "sha256:qemu-guest-agent"}, Labels: map[string]string{ocispec.AnnotationTitle: "qemu-guest-agent"},
	}}
	engines["system"].images = map[string]dockerapi.Image{images.Ref("open-iscsi", version.Version): {
		DiffIDs: []string{"sha256:other", "sha256:open-iscsi"},
	}}
	p.download = func(_ context.Context, address string) ([]byte, error) {
		if strings.HasSuffix(address, "/far.yml?x=1") {
			return []byte("services: {far: {image: far}}\n"), nil
		}
		return nil, errors.New("answer 404 Not Found")
	}
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ask := func(verb control.Verb, names ...string) []control.Request {
		return []control.Request{{Verb: verb, Configured: true, Services: names}}
	}
	shop := file("shop.yml", "web: {image: nginx}\ndb: {image: db}\n")
	for _, tt := range []struct {
		args []string
		code int
		want string
		asks []control.Request
	}{
		{[]string{"enable", shop}, exitOK, "Enabled shop: db, web.", ask(control.Up, "db", "web")},
		{[]string{"enable", "shop"}, exitOK, "Enabled shop: db, web.", ask(control.Up, "db", "web")},
		{[]string{"enable", "https://example.org/far.yml?x=1"}, exitOK, "Enabled far: far.", ask(control.Up, "far")},
		{[]string{"enable", "https://example.org/none.yml"}, exitFailed, "answer 404", nil},
		{[]string{"enable", "node-exporter"}, exitOK, "Enabled node-exporter: node-exporter.", ask(control.Up, "node-exporter")},
		{[]string{"enable", "node-importer"}, exitFailed, "there is no service node-importer in the catalogue, which has kernel-headers", nil},
		{[]string{"enable", "open-iscsi"}, exitFailed, "the image of open-iscsi was made with another build of the OS", nil},
		{[]string{"enable", "docker-compose"}, exitOK, "docker compose is part of the OS", nil},
		{[]string{"enable", "qemu-guest-agent"}, exitFailed, "sudo ros service enable qemu-guest-agent.tar.zst loads it", nil},
		{[]string{"enable", file("qemu-guest-agent.tar.zst", "an archive")}, exitOK, "Enabled qemu-guest-agent: qemu-guest-agent.", ask(control.Up, "qemu-guest-agent")},
		{[]string{"delete", "qemu-guest-agent"}, exitOK, "", ask(control.Remove, "qemu-guest-agent")},
		{[]string{"enable", filepath.Join(dir, "none.yml")}, exitFailed, "no such file", nil},
		{[]string{"enable", file("bad.yml", "web: {imge: a}\n")}, exitFailed, "did you mean image?", nil},
		{[]string{"enable", file("mine.yml", "own: {image: a}\n")}, exitFailed, "rancher.services has one of this name", nil},
		{[]string{"enable", file("a b.yml", "x: {image: a}\n")}, exitFailed, "no name for a service", nil},
		{[]string{"disable", "shop"}, exitOK, "", ask(control.Up, "db", "web")},
		{[]string{"disable", "shp"}, exitFailed, "shp is not enabled; enabled are: far, node-exporter, shop", nil},
		{[]string{"list", "-a"}, exitOK, "db                     -        disabled", nil},
		{[]string{"up"}, exitOK, "", ask(control.Up)},
		{[]string{"pull", "web", "db"}, exitOK, "", ask(control.Pull, "web", "db")},
		{[]string{"rm", "docker"}, exitFailed, "one of the OS", nil},
		{[]string{"rm", "agent"}, exitFailed, "stop it before", nil},
		{[]string{"rm", "--force", "agent"}, exitOK, "", ask(control.Remove, "x")},
		{[]string{"delete", "far"}, exitOK, "", ask(control.Remove, "far")},
		{[]string{"delete", "node-exporter"}, exitOK, "", ask(control.Remove, "node-exporter")},
		{[]string{"delete", "far"}, exitFailed, "far is not enabled; enabled are: shop", nil},
	} {
		code, stdout, stderr := ros(p, append([]string{"service"}, tt.args...)...)
		if code != tt.code || !strings.Contains(stdout+stderr, tt.want) {
			t.Errorf("%s: exit code %d, %s%s; want %d, %q", tt.args, code, stdout, stderr, tt.code, tt.want)
		}
		if diff := cmp.Diff(tt.asks, requests()); diff != "" {
			t.Errorf("%s: requests: %s", tt.args, diff)
		}
	}
	left, err := os.ReadDir(filepath.Join(p.root, layout.ServicesDir))
	if err != nil || len(left) != 1 || left[0].Name() != "shop.yml" {
		t.Errorf("files left: %v, %v; want shop.yml", left, err)
	}
	config, err := os.ReadFile(filepath.Join(p.root, layout.CloudConfig))
	if err != nil || !strings.Contains(string(config), "shop: false") || strings.Contains(string(config), "far") {
		t.Errorf("configuration: %s, %v", config, err)
	}
}

// A signed catalogue is got once, listed, and enabled from without a network.
func TestServiceRefresh(t *testing.T) {
	p, _, requests := orchestrated(t)
	public, private, err := minisign.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	configure(t, p, "rancher: {repositories: {core: {url: 'https://a/c.yml', public_key: "+public.String()+"}}}\n")
	text := []byte("serial: 4\nentries: {sail: {description: moves, services: {sail: {image: 'sail@sha256:" + strings.Repeat("ab", 32) + "'}}}}\n")
	content := map[string][]byte{"https://a/c.yml": text, "https://a/c.yml.minisig": minisign.Sign(private, text)}
	p.download = func(_ context.Context, address string) ([]byte, error) { return content[address], nil }
	for _, tt := range []struct {
		args string
		code int
		want string
	}{
		{"enable sail", exitFailed, "there is no service sail in the catalogue"},
		{"refresh none", exitFailed, "catalogue none: rancher.repositories.none: expected url and public_key"},
		{"refresh", exitOK, "Catalogue core: serial 4, 1 entries."},
		{"list -a", exitOK, "moves, from core: ros service enable sail"},
		{"enable sail", exitOK, "Enabled sail: sail."},
		{"list -a", exitOK, "ros service enable node-exporter"},
	} {
		code, stdout, stderr := ros(p, append([]string{"service"}, strings.Fields(tt.args)...)...)
		if code != tt.code || !strings.Contains(stdout+stderr, tt.want) {
			t.Errorf("%s: exit code %d, %s%s; want %d, %q", tt.args, code, stdout, stderr, tt.code, tt.want)
		}
		// Whatever the catalogue becomes, what is enabled stays as it is.
		if tt.args == "enable sail" && code == exitOK {
			if diff := cmp.Diff([]control.Request{{Verb: control.Up, Configured: true, Services: []string{"sail"}}}, requests()); diff != "" {
				t.Error(diff)
			}
			if _, err := os.Stat(filepath.Join(p.root, osconfig.StoredServices("sail"))); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestServiceProblems(t *testing.T) {
	p, _ := testPlaces(t)
	text := `{"os": {"udev": "it ended: Exited (1)"}, "configured": {"db": "pull image db: no route to host\nmore"}}`
	if err := os.WriteFile(p.problems, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, got, _ := ros(p, "service", "list", "-a")
	for _, want := range []string{
		"Up 3 minutes: it ended: Exited (1)\n", "db                     -        missing     -         configured   pull image db: no route to host\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if code, _, stderr := ros(p, "service", "logs", "db"); code != exitFailed || !strings.Contains(stderr, "service db has no container: pull image db") {
		t.Errorf("logs of a service without a container: %d, %s", code, stderr)
	}
}
