package images

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

func TestShippedDeclarations(t *testing.T) {
	if _, err := Load(); err != nil {
		t.Error(err)
	}
	layers, err := LoadLayers()
	if err != nil {
		t.Error(err)
	}
	for _, name := range LayerOrder() {
		if _, ok := layers[name]; !ok {
			t.Errorf("no %s/layer.yml", name)
		}
	}
}

func TestLoad(t *testing.T) {
	decls, err := load(fstest.MapFS{"a/service.yml": {Data: []byte(`
image: {layers: [base, ros], dirs: {/var/empty: "0755"}}
service:
  command: [/bin/true]
  cap_add: [NET_ADMIN]
  stop_grace_period: 1m30s
  x-reason: {NET_ADMIN: sets addresses}
`)}})
	if err != nil {
		t.Fatal(err)
	}
	want := []Declaration{{
		Name:  "a",
		Image: Image{Layers: []string{"base", "ros"}, Dirs: map[string]string{"/var/empty": "0755"}},
		Service: Service{
			Command:         []string{"/bin/true"},
			CapAdd:          []string{"NET_ADMIN"},
			StopGracePeriod: Duration(90 * time.Second),
			Reason:          map[string]string{"NET_ADMIN": "sets addresses"},
		},
	}}
	if diff := cmp.Diff(want, decls); diff != "" {
		t.Error(diff)
	}
}

func TestLoadMistakes(t *testing.T) {
	for _, tt := range []struct{ name, yaml, want string }{
		{"unknown key", "service: {comand: [/x]}", "comand"},
		{"duration without unit", "service: {command: [/x], stop_grace_period: 5}", "missing unit"},
		{"relative command", "service: {command: [x]}", "service.command"},
		{"unknown layer", "image: {layers: [top]}\nservice: {command: [/x]}", `no shared layer "top"`},
		{"layer order", "image: {layers: [ros, base]}\nservice: {command: [/x]}", "want the order"},
		{"no reason", "service: {command: [/x], privileged: true}", "no reason for privileged"},
		{"idle reason", "service: {command: [/x], x-reason: {pid: y}}", "pid is not a privilege"},
		{"unknown dependency", "service: {command: [/x], x-after: [b]}", `no service "b"`},
		{"waits for itself", "service: {command: [/x], x-after: [a]}", "wait for each other"},
		{"two conditions", "service: {command: [/x], x-ready: {file: /a, socket: /b}}", "exactly one"},
		{"volume", "service: {command: [/x], volumes: [data:/data]}", "service.volumes"},
		{"mode", "image: {dirs: {/a: rwx}}\nservice: {command: [/x]}", "octal mode"},
		{"user id", "image: {users: [{name: a, id: 0}]}\nservice: {command: [/x]}", "image.users"},
		{"two documents", "service: {command: [/x]}\n---\nx: 1", "more than one"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := load(fstest.MapFS{"a/service.yml": {Data: []byte(tt.yaml)}})
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "a/service.yml") && tt.name != "waits for itself" {
				t.Errorf("load = %v; want an error in a/service.yml with %q", err, tt.want)
			}
		})
	}
}

func TestUsersAgree(t *testing.T) {
	svc := "\nservice: {command: [/x]}"
	_, err := load(fstest.MapFS{
		"a/service.yml": {Data: []byte("image: {users: [{name: x, id: 200}, {name: y, id: 201}]}" + svc)},
		"b/service.yml": {Data: []byte("image: {users: [{name: x, id: 202}, {name: z, id: 201}]}" + svc)},
	})
	if err == nil || !strings.Contains(err.Error(), "user x has id 202 here and 200") || !strings.Contains(err.Error(), "id 201 is z here and y") {
		t.Errorf("load = %v; want both disagreements", err)
	}
}

// Each optional image has a service in the catalogue that runs from it.
func TestOptional(t *testing.T) {
	decls, err := LoadOptional()
	if err != nil {
		t.Fatal(err)
	}
	if len(decls) == 0 {
		t.Fatal("there are none")
	}
	for _, d := range decls {
		text, err := Catalogue(d.Name, "1")
		if err != nil || !strings.Contains(string(text), "image: "+Ref(d.Name, "1")+"\n") || !IsOptional(d.Name) {
			t.Errorf("%s: catalogue has %v\n%s", d.Name, err, text)
		}
	}
	if IsOptional("node-exporter") {
		t.Error("node-exporter is on the medium")
	}
}

// TestCatalogueReasons: each privilege of a service in the catalogue has a
// reason, and each reason its privilege.
func TestCatalogueReasons(t *testing.T) {
	names := CatalogueNames()
	if len(names) < 5 {
		t.Fatalf("catalogue: %v", names)
	}
	for _, name := range names {
		text, err := Catalogue(name, "1")
		if err != nil {
			t.Fatal(err)
		}
		var file struct {
			Services map[string]struct {
				Service `yaml:",inline"`
				CapDrop []string `yaml:"cap_drop"`
			}
		}
		if err := yaml.Unmarshal(text, &file); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		s, ok := file.Services[name]
		if !ok || len(file.Services) != 1 || !slices.Equal(s.CapDrop, []string{"ALL"}) {
			t.Errorf("%s: want one service of this name, without Docker's own capabilities", name)
		}
		if !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s: its programs may get new privileges", name)
		}
		want := s.rights().Privileges()
		if got := slices.Sorted(maps.Keys(CatalogueReasons(name))); !slices.Equal(got, want) {
			t.Errorf("%s: reasons for %v; privileges are %v", name, got, want)
		}
	}
}
