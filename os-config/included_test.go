package osconfig

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-os/bulkhead/internal/layout"
)

func TestParseServices(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       []string // names with images
		problems   []string
	}{
		{"version 1", "web: {image: nginx, net: host}\ndb: {image: db}\n", []string{"db db", "web nginx"}, nil},
		{"Compose", "name: shop\nservices:\n  web: {image: nginx}\nvolumes: {data: , other: {driver: nfs}}\nnetworks: {front: {external: true}}\nx-a: 1\n",
			[]string{"web nginx"}, []string{"f:4:26: warning: volumes.other: no effect, it is made as the daemon makes it; to have another, make it with docker first"}},
		{"a service that is called services", "services: {image: nginx}\n", []string{"services nginx"}, nil},
		{"mistakes", "services:\n  web: {imge: nginx}\n  db: {image: db, ports: [x]}\nsecrets: {}\n", []string{"db db"}, []string{
			"f:4:1: secrets: unknown here; expected services, networks, volumes",
			"f:2:9: services.web.imge: unknown key; did you mean image?",
			"f:3:27: services.db.ports[0]: expected [[ADDRESS:]PORT:]PORT[/udp]; put it in quotes",
			"f: services.web: it names no image",
		}},
		{"nothing", "", nil, []string{"f: there is no service in it"}},
		{"no YAML", "a: [", nil, []string{"f:2: invalid YAML, file ignored: did not find expected node content"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			services, problems := ParseServices("f", []byte(tt.text))
			var got, told []string
			for _, name := range slices.Sorted(maps.Keys(services)) {
				got = append(got, name+" "+services[name].Image)
			}
			for _, p := range problems {
				told = append(told, p.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tt.problems, told); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSelect(t *testing.T) {
	root := t.TempDir()
	write := func(file, text string) {
		t.Helper()
		file = filepath.Join(root, file)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const address = "https://example.org/far.yml"
	write("/opt/own.yml", "own: {image: own}\nweb: {image: other}\n")
	write(layout.ServicesDir+"/stored.yml", "stored: {image: stored}\n")
	write(layout.ServicesDir+"/off.yml", "off: {image: off}\nshipped: {image: other}\n")
	write(StoredServices(address), "far: {image: far}\n")
	catalogue := fstest.MapFS{"shipped.yml": {Data: []byte("shipped: {image: shipped}\n")}, "stored.yml": {Data: []byte("a: {image: b}")}}
	r := Rancher{
		Services: map[string]Service{"web": {Image: "nginx"}},
		ServicesInclude: map[string]bool{
			"/opt/own.yml": true, "stored": true, "off": false, "shipped": true, address: true,
			"gone": true, "never": false, "https://example.org/new.yml": true, "../etc/passwd": true,
		},
	}
	s := r.Select(root, func(name string) ([]byte, error) { return catalogue.ReadFile(name + ".yml") })
	images := make(map[string]string)
	for name, service := range s.Services {
		images[name] = service.Image
	}
	for _, check := range []struct{ got, want any }{
		{images, map[string]string{"web": "nginx", "own": "own", "stored": "stored", "off": "off", "shipped": "shipped", "far": "far"}},
		{s.From, map[string]string{"own": "/opt/own.yml", "stored": "stored", "off": "off", "shipped": "shipped", "far": address}},
		{s.Off, map[string]bool{"off": true}},
		{s.Missing, []string{"../etc/passwd", "gone", "https://example.org/new.yml"}},
	} {
		if diff := cmp.Diff(check.want, check.got); diff != "" {
			t.Error(diff)
		}
	}
	if len(s.Problems) != 1 || !strings.Contains(s.Problems[0].String(), "/opt/own.yml: service web: rancher.services has one of this name") {
		t.Errorf("problems: %v", s.Problems)
	}
	if s.Complete() {
		t.Error("complete although files are missing")
	}
}
