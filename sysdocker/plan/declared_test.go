package plan

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with testdata/name.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs; run with -update if that is meant:\n%s", path, diff)
	}
}

const boot = "boot-2"

// machine is a small OS: four services on three levels.
func machine() ([]images.Declaration, images.Index) {
	decls := []images.Declaration{
		{Name: "docker", Service: images.Service{
			Command: []string{"/usr/lib/bulkhead/user-docker"}, Privileged: true, NetworkMode: "host", Pid: "host",
			Uts: "host", Cgroup: "host", Volumes: []string{"/state:/state:rshared", "/dev:/dev"}, OomScoreAdj: new(-500), CgroupParent: "/user-tier",
			Ready:           &images.Ready{Docker: "/run/docker.sock"},
			StopGracePeriod: images.Duration(90 * time.Second),
		}},
		{Name: "udev", Service: images.Service{
			Command: []string{"/usr/lib/systemd/systemd-udevd"}, Privileged: true, NetworkMode: "host",
			Ready: &images.Ready{Socket: "/run/udev/control"}, Ephemeral: true,
		}},
		{Name: "network", Service: images.Service{
			Command: []string{"/usr/lib/bulkhead/network", "--all"}, After: []string{"udev"}, NetworkMode: "host",
			CapAdd: []string{"NET_ADMIN", "NET_RAW"}, ReadOnly: true,
			Environment: map[string]string{"LANG": "C.UTF-8", "DEBUG": ""},
			Tmpfs:       []string{"/tmp", "/run/network:size=1m,mode=0700"},
			Devices:     []string{"/dev/rfkill", "/dev/net/tun:/dev/tun:rw"},
			MemLimit:    "64m", PidsLimit: 32, StopSignal: "SIGINT",
			SecurityOpt: []string{"seccomp=unconfined"},
			Healthcheck: &images.Healthcheck{
				Test: []string{"CMD", "/usr/lib/bulkhead/health", "network"}, Interval: images.Duration(30 * time.Second), Retries: 3,
			},
		}},
		{Name: "ntp", Service: images.Service{
			Command: []string{"/usr/sbin/chronyd", "-d"}, After: []string{"network", "udev"}, SharedShim: true, StopGracePeriod: images.Duration(1500 * time.Millisecond),
		}},
		{Name: "setup", Service: images.Service{Command: []string{"/bin/true"}, Restart: "no"}},
	}
	var index images.Index
	for i, d := range decls {
		index.Images = append(index.Images, images.IndexEntry{
			Name: d.Name, Ref: "bulkhead/" + d.Name + ":1", Manifest: fmt.Sprintf("sha256:%02x", i), Archive: d.Name + ".tar",
		})
	}
	return decls, index
}

func services(t *testing.T) map[string]Want {
	t.Helper()
	decls, index := machine()
	list, err := Services(decls, index, boot)
	if err != nil {
		t.Fatal(err)
	}
	byName := make(map[string]Want)
	for _, s := range list {
		byName[s.Name] = s
	}
	return byName
}

func TestSpec(t *testing.T) {
	for name, s := range services(t) {
		text, err := json.MarshalIndent(struct{ Config, Host any }{s.Spec.Config, notZero(t, s.Spec.Host)}, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "spec-"+name+".json", string(text)+"\n")
	}
}

// notZero leaves out what is not set: HostConfig writes every field.
func notZero(t *testing.T, v any) map[string]any {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		t.Fatal(err)
	}
	for k, v := range fields {
		switch fmt.Sprint(v) {
		case "", "0", "false", "<nil>", "[]", "map[]", "[0 0]":
			delete(fields, k)
		}
	}
	return fields
}

func TestBring(t *testing.T) {
	all := services(t)
	// have is a container as Services declares it.
	have := func(name string, state dockerapi.State, change ...func(*dockerapi.Container)) dockerapi.Container {
		s := all[name]
		c := dockerapi.Container{ID: "id-of-" + name, Name: name, ImageID: s.Image.Manifest, State: state, Labels: map[string]string{}}
		for k, v := range s.Spec.Config.Labels {
			c.Labels[k] = v
		}
		for _, f := range change {
			f(&c)
		}
		return c
	}
	label := func(key, value string) func(*dockerapi.Container) {
		return func(c *dockerapi.Container) { c.Labels[key] = value }
	}

	tests := []struct {
		name     string
		service  string
		existing []dockerapi.Container
		next     Want // with what the attempt does besides
	}{
		{"first boot", "ntp", nil, Want{}},
		{"second boot", "ntp", []dockerapi.Container{have("docker", dockerapi.Exited), have("ntp", dockerapi.Exited)}, Want{}},
		{"second boot, for one boot only", "udev", []dockerapi.Container{have("udev", dockerapi.Exited, label(LabelBoot, "boot-1"))}, Want{}},
		{"created but never started", "docker", []dockerapi.Container{have("docker", dockerapi.Created)}, Want{}},
		{"orchestrator was restarted", "docker", []dockerapi.Container{have("docker", dockerapi.Running)}, Want{}},
		{"paused by someone", "ntp", []dockerapi.Container{have("ntp", dockerapi.Paused)}, Want{}},
		{"declaration has changed", "network", []dockerapi.Container{have("network", dockerapi.Running, label(LabelSpec, "old"))}, Want{}},
		{"image has changed", "network", []dockerapi.Container{have("network", dockerapi.Exited, func(c *dockerapi.Container) { c.ImageID = "sha256:old" })}, Want{}},
		{"dead", "ntp", []dockerapi.Container{have("ntp", dockerapi.Dead)}, Want{}},
		{"name taken by a stranger", "ntp", []dockerapi.Container{{ID: "stranger", Name: "ntp"}}, Want{}},
		{"renamed by someone", "ntp", []dockerapi.Container{have("ntp", dockerapi.Running, func(c *dockerapi.Container) { c.Name = "clock" })}, Want{}},
		{"unhealthy", "docker", []dockerapi.Container{have("docker", dockerapi.Running)}, Want{Restart: "is unhealthy"}},
		{"unhealthy but ended meanwhile", "docker", []dockerapi.Container{have("docker", dockerapi.Exited)}, Want{Restart: "is unhealthy"}},
		{"does not start", "ntp", []dockerapi.Container{have("ntp", dockerapi.Created)}, Want{Recreate: "does not start"}},
		{"new container does not start either", "ntp", []dockerapi.Container{have("ntp", dockerapi.Created)}, Want{Recreate: "does not start", ReplaceImage: true}},
		{"once, first boot", "setup", nil, Want{}},
		{"once, next boot", "setup", []dockerapi.Container{have("setup", dockerapi.Exited, label(LabelBoot, "boot-1"))}, Want{}},
		{"once, done", "setup", []dockerapi.Container{have("setup", dockerapi.Exited)}, Want{}},
		{"once, under way", "setup", []dockerapi.Container{have("setup", dockerapi.Running)}, Want{}},
	}
	var text strings.Builder
	for _, tt := range tests {
		fmt.Fprintf(&text, "# %s\n", tt.name)
		w := all[tt.service]
		w.Restart, w.Recreate, w.ReplaceImage = tt.next.Restart, tt.next.Recreate, tt.next.ReplaceImage
		actions, err := Actions(w, tt.existing)
		if err != nil {
			t.Error(err)
		}
		for _, a := range actions {
			fmt.Fprintln(&text, a)
		}
		fmt.Fprintln(&text)
	}
	golden(t, "bring.txt", text.String())
}

// What people label as a service, or make from its image, is none of its
// containers: whether it runs or has ended, with or without the real one.
func TestForgedLabels(t *testing.T) {
	ntp := services(t)["ntp"]
	labels := ntp.Spec.Config.Labels
	real := dockerapi.Container{ID: "real", Name: "ntp", State: dockerapi.Running, Labels: labels, ImageID: ntp.Image.Manifest}
	for name, forged := range map[string]dockerapi.Container{
		"a label":             {ID: "spy", Name: "spy", State: dockerapi.Running, Labels: map[string]string{LabelService: "ntp"}},
		"an image made of it": {ID: "spy", Name: "spy", State: dockerapi.Exited, Labels: labels, ImageID: "sha256:committed"},
	} {
		got, err := Actions(ntp, []dockerapi.Container{forged, real})
		if err != nil || len(got) != 1 || got[0].Kind != WaitReady || got[0].Container != "real" {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		stopped := ntp
		stopped.Target = Stopped
		if got, err := Actions(stopped, []dockerapi.Container{forged}); err != nil || len(got) != 0 {
			t.Errorf("%s of a stopped service: %v, %v", name, got, err)
		}
	}
}

func TestOrphans(t *testing.T) {
	decls, _ := machine()
	got := Orphans(decls, []dockerapi.Container{
		{ID: "a", Name: "ntp", Labels: map[string]string{LabelService: "ntp"}},
		{ID: "b", Name: "dhcp", Labels: map[string]string{LabelService: "dhcp"}},
		{ID: "c", Name: "mine"},
		{ID: "d", Name: "spy", Labels: map[string]string{LabelService: "none"}},
	})
	want := []Action{{Kind: RemoveContainer, Service: "dhcp", Container: "b", Reason: "no such service any more"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestStopOrder(t *testing.T) {
	decls, index := machine()
	list, err := Services(decls, index, boot)
	if err != nil {
		t.Fatal(err)
	}
	var got [][]string
	for _, group := range StopOrder(list) {
		var names []string
		for _, s := range group {
			names = append(names, s.Name)
		}
		got = append(got, names)
	}
	want := [][]string{{"docker"}, {"ntp"}, {"network"}, {"setup", "udev"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestPriority(t *testing.T) {
	got := make(map[string]int)
	for name, s := range services(t) {
		got[name] = s.Priority
	}
	want := map[string]int{"docker": 5, "udev": 2, "network": 1, "ntp": 0, "setup": 0}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestHashFollowsDeclarationAndNothingElse(t *testing.T) {
	decls, index := machine()
	hash := func(change func(*images.Declaration, *images.IndexEntry), boot string) string {
		d, e := decls[2], index.Images[2]
		change(&d, &e)
		spec, err := declared(d, e, boot)
		if err != nil {
			t.Fatal(err)
		}
		return spec.Config.Labels[LabelSpec]
	}
	same := hash(func(*images.Declaration, *images.IndexEntry) {}, "1")
	if got := hash(func(d *images.Declaration, _ *images.IndexEntry) { d.Service.Ephemeral = true }, "2"); got != same {
		t.Error("hash depends on the boot")
	}
	if got := hash(func(d *images.Declaration, _ *images.IndexEntry) { d.Service.PidsLimit++ }, "1"); got == same {
		t.Error("hash does not see a changed limit")
	}
}

func TestServicesErrors(t *testing.T) {
	decl := func(name string, after ...string) images.Declaration {
		return images.Declaration{Name: name, Service: images.Service{Command: []string{"/bin/true"}, After: after}}
	}
	tests := []struct {
		name  string
		decls []images.Declaration
		want  string
	}{
		{"unknown", []images.Declaration{decl("a", "b", "c")},
			"service a: waits for b, which does not exist\nservice a: waits for c, which does not exist"},
		{"itself", []images.Declaration{decl("a", "a")}, "services wait for each other: a → a"},
		{"cycle", []images.Declaration{decl("x", "a"), decl("a", "b"), decl("b", "c"), decl("c", "a")},
			"services wait for each other: a → b → c → a"},
		{"no image", []images.Declaration{decl("a")}, "service a: no image of this name in the index of shipped images"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Services(tt.decls, images.Index{}, boot)
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Error(diff)
			}
		})
	}
}
