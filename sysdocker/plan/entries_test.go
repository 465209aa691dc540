package plan

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/moby/moby/api/types/network"

	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

// files are what services' env_file name.
func files(name string) ([]byte, error) {
	if name != "/etc/web.env" {
		return nil, errors.New("no such file")
	}
	return []byte("# comment\nA=file\nB=file=x\n\nFROM_OS\n"), nil
}

func TestConfigure(t *testing.T) {
	value := "1"
	services := map[string]osconfig.Service{
		"web": {
			Image: "nginx:1", Command: osconfig.Words{"nginx", "-g", "daemon off;"},
			Environment: osconfig.Environment{"A": &value, "FROM_OS": nil, "UNKNOWN": nil, "B*": nil},
			EnvFile:     osconfig.StringList{"/etc/web.env"},
			Volumes:     []string{"/srv:/usr/share/nginx/html:ro", "cache:/var/cache"},
			Ports:       []string{"8080:80", "127.0.0.1:53:53/udp", "9000-9001:9000-9001"},
			Restart:     "on-failure:5", Labels: osconfig.Labels{"tier": "front", labelAfter: "db, network"},
			Networks: osconfig.Names{"front", "back"}, Links: []string{"db:database"}, MacAddress: "52:54:00:12:34:56",
			BlkioConfig: osconfig.BlockIO{
				Weight: 300, WeightDevice: []osconfig.DeviceWeight{{Path: "/dev/vda", Weight: 400}},
				DeviceReadBPS:   []osconfig.DeviceBytes{{Path: "/dev/vda", Rate: "10M"}},
				DeviceWriteIOPS: []osconfig.DeviceOperations{{Path: "/dev/vda", Rate: 30}},
			},
			MemLimit: "64M", CPUs: "1.5", PidsLimit: 100, Ulimits: map[string]osconfig.Ulimit{"nofile": {Soft: 1024, Hard: 4096}},
			Healthcheck: osconfig.Healthcheck{Test: osconfig.HealthTest{"CMD", "true"}, Interval: osconfig.Duration(30e9)},
			LogDriver:   "local", LogOpt: osconfig.Labels{"max-size": "1m"}, ContainerName: "site", DNS: osconfig.StringList{"10.0.0.53"},
		},
		"db":    {Image: "db", Labels: osconfig.Labels{labelBefore: "web cron"}},
		"cron":  {Image: "cron", Volumes: []string{"/var/log/cron:/var/log"}, VolumesFrom: []string{"all-volumes", "agent:ro"}, Labels: osconfig.Labels{labelScope: "system"}},
		"agent": {Image: "agent", Privileged: true, Net: "host", Labels: osconfig.Labels{labelScope: "system"}, DependsOn: osconfig.Names{"db"}},
	}
	list, mistakes := Configure(services, map[string]string{"FROM_OS": "yes", "A": "os", "B": "os", "BERTH": "7"}, files)
	if len(mistakes) > 0 {
		t.Fatal(mistakes)
	}
	for _, c := range list {
		if c.System != (c.Name == "agent" || c.Name == "cron") {
			t.Errorf("%s in the system tier: %v", c.Name, c.System)
		}
		type spec struct{ Config, Host, Network any }
		text, err := json.MarshalIndent(struct {
			Container string
			After     []string
			Networks  []string
			Spec      spec
		}{c.Container, c.After, c.Networks, spec{notZero(t, c.Spec.Config), notZero(t, c.Spec.Host), notZero(t, c.Spec.Network)}}, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "configured-"+c.Name+".json", string(text)+"\n")
	}
}

// Every key has an effect, or osconfig tells that it has none.
func TestEveryKeyHasAnEffect(t *testing.T) {
	base := parseServices(t, "{x: {image: a}, db: {image: b}}")
	for i := range reflect.TypeFor[osconfig.Service]().NumField() {
		tag := reflect.TypeFor[osconfig.Service]().Field(i).Tag
		key := tag.Get("yaml")
		if key == "image" || tag.Get("instead") != "" {
			continue
		}
		example := tag.Get("eg")
		if key == "volumes_from" {
			example = "[db]" // The other is for the system tier.
		}
		with := parseServices(t, fmt.Sprintf("{x: {image: a, %s: %s}, db: {image: b}}", key, example))
		one, mistakes1 := Configure(base, nil, files)
		other, mistakes2 := Configure(with, nil, files)
		if mistakes := slices.Concat(mistakes1, mistakes2); len(mistakes) > 0 {
			t.Errorf("%s: %v", key, mistakes)
			continue
		}
		if cmp.Equal(one, other, cmpopts.EquateComparable(netip.Addr{}, network.Port{})) {
			t.Errorf("%s: %s has no effect", key, example)
		}
	}
}

// Who is in the namespace of a container that is made anew is made anew too.
func TestSharedNamespace(t *testing.T) {
	spec := func(image string) string {
		list, mistakes := Configure(parseServices(t, "{db: {image: "+image+"}, kin: {image: a, net: 'service:db'}}"), nil, files)
		if len(mistakes) > 0 {
			t.Fatal(mistakes)
		}
		return list[1].Spec.Config.Labels[LabelSpec]
	}
	if spec("one") == spec("two") {
		t.Error("the container in the other's network stays")
	}
}

func parseServices(t *testing.T, text string) map[string]osconfig.Service {
	t.Helper()
	root := t.TempDir()
	file := filepath.Join(root, layout.CloudConfig)
	err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte("#cloud-config\nrancher: {services: "+text+"}\n"), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	cfg, problems, err := osconfig.Load(root, "")
	for _, p := range problems {
		if p.Severity == osconfig.Error {
			err = errors.Join(err, errors.New(p.String()))
		}
	}
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return cfg.Rancher.Services
}

func TestConfigureErrors(t *testing.T) {
	const system = "labels: {io.rancher.os.scope: system}"
	tests := []struct {
		services string
		want     string
		left     string // what is not wrong
	}{
		{"{x: {image: a, expose: [b]}}", "rancher.services.x.expose: ", ""},
		{"{x: {image: a, env_file: /none}}", "rancher.services.x.env_file: no such file", ""},
		{"{x: {image: a, dns: b}}", "rancher.services.x.dns: ", ""},
		{"{x: {image: a, mac_address: b}}", "rancher.services.x.mac_address: ", ""},
		{"{x: {image: a, networks: [n], net: host}}", "rancher.services.x.networks: not together with network_mode", ""},
		{"{x: {image: a, net: host, ports: ['80:80']}}", "rancher.services.x.ports: not with network_mode host", ""},
		{"{x: {image: a, ports: ['80:80'], " + system + "}}", "rancher.services.x.ports: not in the system tier", ""},
		{"{x: {image: a, networks: [n], " + system + "}}", "rancher.services.x.networks: not in the system tier", ""},
		{"{x: {image: a, links: [n], " + system + "}}", "rancher.services.x.links: not in the system tier", ""},
		{"{x: {image: a, volumes_from: [all-volumes]}}", "rancher.services.x.volumes_from: all-volumes is for the system tier", ""},
		{"{x: {image: a, restart: always, labels: {io.rancher.os.detach: 'false'}}}", "rancher.services.x.labels.io.rancher.os.detach: with restart always", ""},
		{"{x: {image: a, links: [y]}, y: {image: b, dns: c}, z: {image: c}}", "rancher.services.x: waits for y, which cannot start before it", "z"},
		{"{x: {image: a, links: [y]}, y: {image: b, volumes_from: [x]}, z: {image: c, depends_on: [db]}}", "rancher.services.y: waits for x, which cannot", "z"},
	}
	for _, tt := range tests {
		list, mistakes := Configure(parseServices(t, tt.services), nil, files)
		says := func(p osconfig.Problem) bool { return strings.Contains(p.Key+": "+p.Text, tt.want) }
		if !slices.ContainsFunc(mistakes, says) {
			t.Errorf("Configure(%s) = %v; want %s…", tt.services, mistakes, tt.want)
		}
		var left []string
		for _, c := range list {
			left = append(left, c.Name)
		}
		if got := strings.Join(left, " "); got != tt.left {
			t.Errorf("Configure(%s): left are %q; want %q", tt.services, got, tt.left)
		}
	}
}

// Planning is cheap enough for any configuration.
func BenchmarkConfigure100(b *testing.B) {
	services := make(map[string]osconfig.Service)
	for i := range 100 {
		services[fmt.Sprintf("s%d", i)] = osconfig.Service{Image: "a", Ports: []string{fmt.Sprintf("%d:80", 8000+i)}, DependsOn: osconfig.Names{fmt.Sprintf("s%d", i/2)}}
	}
	for b.Loop() {
		if _, mistakes := Configure(services, nil, files); len(mistakes) > 0 {
			b.Fatal(mistakes)
		}
	}
}

func TestUnwanted(t *testing.T) {
	have := []dockerapi.Container{
		{ID: "web", Name: "web", Labels: map[string]string{LabelConfigured: "web"}},
		{ID: "old", Name: "old", Labels: map[string]string{LabelConfigured: "old"}},
		{ID: "child", Name: "child", Labels: map[string]string{LabelConfigured: "old"}}, // of an image made from old
		{ID: "site", Name: "site", Labels: map[string]string{LabelConfigured: "shop", LabelContainer: "site"}},
		{ID: "copy", Name: "copy", Labels: map[string]string{LabelConfigured: "shop", LabelContainer: "site"}},
		{ID: "mine", Name: "mine"},
	}
	got := Unwanted([]Want{{Care: Started, Container: "web"}}, have)
	if len(got) != 2 || got[0].Container != "old" || got[1].Container != "site" {
		t.Errorf("Unwanted = %v; want old and site", got)
	}
}
