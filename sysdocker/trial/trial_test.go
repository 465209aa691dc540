package trial

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	"github.com/bulkhead-os/bulkhead/sysdocker/plan"
)

func TestMissing(t *testing.T) {
	type states = map[string]string
	before := Picture{
		Services: states{"docker": "", "network": "unhealthy", "ntp": "", "old": ""}, Containers: states{"web": "", "sick": "unhealthy"}, Online: true,
	}
	declared := []string{"docker", "network", "ntp"}
	good := func(change func(*Picture)) Picture {
		p := Picture{Services: states{"docker": "", "network": "unhealthy", "ntp": ""}, Containers: states{"web": "", "sick": "unhealthy"}, Online: true}
		change(&p)
		return p
	}
	for _, c := range []struct {
		name string
		now  Picture
		want []string
	}{
		{"as before, without a service that is no more", good(func(*Picture) {}), nil},
		{"service unhealthy", good(func(p *Picture) { p.Services["docker"] = "starting" }), []string{"service docker is starting"}},
		{"service not there", good(func(p *Picture) { delete(p.Services, "ntp") }), []string{"service ntp is not there"}},
		{"container stopped", good(func(p *Picture) { p.Containers["web"] = "exited" }), []string{"container web is exited"}},
		{"container not there", good(func(p *Picture) { delete(p.Containers, "web") }), []string{"container web is not there"}},
		{"no network", good(func(p *Picture) { p.Online = false }), []string{"the machine has no way out any more: no default route"}},
		{"no engines", Picture{SystemDocker: "a", UserDocker: "b", Online: true}, []string{"system Docker does not answer: a", "user Docker does not answer: b"}},
	} {
		if diff := cmp.Diff(c.want, before.Missing(c.now, declared)); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
	// What was wrong before is nobody's fault.
	poor := Picture{Services: states{"docker": "unhealthy"}, UserDocker: "away"}
	if got := poor.Missing(Picture{UserDocker: "away"}, declared); got != nil {
		t.Errorf("no better than before: %q", got)
	}
	now := good(func(p *Picture) { p.Containers["web"] = "exited" })
	if diff := cmp.Diff([]string{"service network is unhealthy"}, expectation(now).Missing(now, declared)); diff != "" {
		t.Errorf("nothing known of before: %s", diff)
	}
}

func TestJudge(t *testing.T) {
	bad := []string{"x"}
	type look struct {
		at      time.Duration
		missing []string
		want    Verdict
	}
	for name, looks := range map[string][]look{
		"good":               {{20, bad, Undecided}, {30, nil, Undecided}, {39, nil, Undecided}, {40, nil, Good}},
		"a break":            {{30, nil, Undecided}, {35, bad, Undecided}, {36, nil, Undecided}, {45, nil, Undecided}, {46, nil, Good}},
		"never":              {{30, bad, Undecided}, {99, bad, Undecided}, {100, bad, Failed}},
		"just in time":       {{99, nil, Undecided}, {108, nil, Undecided}, {109, nil, Good}},
		"too late once more": {{99, nil, Undecided}, {101, bad, Failed}},
	} {
		j := Judge{Settle: 10, Limit: 100}
		for _, l := range looks {
			if got := j.Decide(l.at, l.missing); got != l.want {
				t.Errorf("%s, at %d: %v; want %v", name, l.at, got, l.want)
			}
		}
	}
}

// fakeDaemon has containers, of which those named once do not come back.
type fakeDaemon struct {
	containers []dockerapi.Container
	err        error
}

func (f fakeDaemon) Containers(context.Context, string) ([]dockerapi.Container, error) {
	return f.containers, f.err
}

func (f fakeDaemon) ComesBack(_ context.Context, id string) (bool, error) { return id != "once", nil }

func TestLook(t *testing.T) {
	routes := fstest.MapFS{"route": {Data: []byte("Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\neth0 00000000 0202000A 0003 0 0 1024 00000000 0 0 0\n")}}
	service := func(name string) map[string]string { return map[string]string{plan.LabelService: name} }
	system := fakeDaemon{containers: []dockerapi.Container{
		{Name: "docker", Labels: service("docker"), State: dockerapi.Running, Health: dockerapi.Healthy},
		{Name: "ntp", Labels: service("ntp"), State: dockerapi.Running, Health: "starting"},
		{Name: "spy", Labels: service("ntp"), State: dockerapi.Exited, Health: "none"},
	}}
	user := fakeDaemon{containers: []dockerapi.Container{
		{ID: "1", Name: "web", State: dockerapi.Running, Health: "none"},
		{ID: "once", Name: "once", State: dockerapi.Running, Health: "none"},
		{ID: "2", Name: "off", State: dockerapi.Exited, Health: "none"},
	}}
	want := Picture{
		Services: map[string]string{"docker": "", "ntp": "starting"}, Containers: map[string]string{"web": "", "off": "exited"}, Online: true,
	}
	if diff := cmp.Diff(want, Look(t.Context(), system, user, routes)); diff != "" {
		t.Error(diff)
	}
	away := fakeDaemon{err: errors.New("away")}
	if got := Look(t.Context(), away, away, fstest.MapFS{}); got.SystemDocker != "away" || got.UserDocker != "away" || got.Online {
		t.Errorf("nothing there: %+v", got)
	}
}

func TestOnline(t *testing.T) {
	for name, c := range map[string]struct {
		file, line string
		want       bool
	}{
		"own network":   {"route", "eth0 0002000A 00000000 0001 0 0 1024 00FFFFFF 0 0 0", false},
		"default":       {"route", "eth0 00000000 0202000A 0003 0 0 1024 00000000 0 0 0", true},
		"version 6":     {"ipv6_route", "00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000002 00000400 00000001 00000000 00450003 eth0", true},
		"version 6, lo": {"ipv6_route", "00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200 lo", false},
	} {
		if got := online(fstest.MapFS{c.file: {Data: []byte(c.line + "\n")}}); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestBefore(t *testing.T) {
	file := filepath.Join(t.TempDir(), "conf", "before.json")
	want := Before{Trial: 3, Version: "v1", Picture: Picture{Services: map[string]string{"docker": ""}, Online: true}}
	if err := want.Save(file); err != nil {
		t.Fatal(err)
	}
	got, found := Load(file, 3)
	if diff := cmp.Diff(want, got); diff != "" || !found {
		t.Error(found, diff)
	}
	if _, found := Load(file, 4); found {
		t.Error("the picture of another trial is taken")
	}
}
