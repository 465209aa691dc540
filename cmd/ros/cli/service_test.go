package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	"github.com/bulkhead-os/bulkhead/sysdocker/control"
)

// orchestrated is testPlaces with an orchestrator that carries out everything
// but a stop of udev. It returns the requests, too.
func orchestrated(t *testing.T) (places, map[string]*fakeEngine, func() []control.Request) {
	p, engines := testPlaces(t)
	p.controlSocket = filepath.Join(t.TempDir(), "s")
	requests := make(chan control.Request, 10)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- control.Serve(ctx, p.controlSocket, func(_ context.Context, r control.Request, _ func(string)) error {
			requests <- r
			if r.Service == "udev" && r.Verb == control.Stop {
				return errors.New("service udev: still runs")
			}
			return nil
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(p.controlSocket); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("no socket")
		}
	}
	return p, engines, func() (got []control.Request) {
		for len(requests) > 0 {
			got = append(got, <-requests)
		}
		return got
	}
}

func TestServiceCommands(t *testing.T) {
	archive := filepath.Join(t.TempDir(), "image.tar")
	if err := os.WriteFile(archive, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	p, engines, requests := orchestrated(t)
	system, user := engines["system"], engines["user"]
	system.loads = []string{"new"}
	system.images = map[string]dockerapi.Image{
		"new":     {ID: "sha256:0123456789abcdef"},
		"shipped": {ID: "sha256:ee"},
		"others":  {ID: "sha256:ff", Labels: map[string]string{"org.opencontainers.image.title": "ntp"}},
	}
	tests := []struct {
		args   string
		code   int
		want   string // part of what is printed
		asks   []control.Request
		system []string // calls of system Docker
		user   []string
	}{
		{args: "list -a", want: "agent                  system   running     -         configured   Up 2 minutes\nweb                    user     exited      -         configured   Exited (0)\nkernel-headers         -        available   -         catalogue    not on the medium: ros service enable kernel-headers.tar.zst\n"},
		{args: "list --json", want: "[\n  {\n    \"name\": \"docker\",\n    \"tier\": \"system\""},
		{args: "logs --tail 3 -f web", want: "3 of w1, follow true\n"},
		{args: "logs nobody", code: exitFailed, want: "there is no service nobody; there are docker, udev, agent, web"},
		{args: "logs", code: exitUsage, want: "takes 1 arguments"},
		{args: "restart udev", system: []string{"restart u1"}},
		{args: "kill web", user: []string{"kill w1"}},
		{args: "start web", asks: []control.Request{{Verb: control.Start, Configured: true, Services: []string{"x"}}}},
		{args: "stop agent", asks: []control.Request{{Verb: control.Stop, Configured: true, Services: []string{"x"}}}},
		{args: "rollback agent", code: exitFailed, want: "no OS service"},
		{args: "stop docker", code: exitFailed, want: "--force"},
		{args: "stop --force docker", asks: []control.Request{{Verb: control.Stop, Service: "docker"}}},
		{args: "stop --force udev", code: exitFailed, want: "still runs", asks: []control.Request{{Verb: control.Stop, Service: "udev"}}},
		{args: "start udev", asks: []control.Request{{Verb: control.Start, Service: "udev"}}},
		{args: "rollback udev", asks: []control.Request{{Verb: control.Rollback, Service: "udev"}}},
		{args: "upgrade udev new", want: "Service udev runs from image 0123456789ab.", asks: []control.Request{{Verb: control.Upgrade, Service: "udev", Image: "sha256:0123456789abcdef"}}},
		{args: "upgrade udev " + archive, asks: []control.Request{{Verb: control.Upgrade, Service: "udev", Image: "sha256:0123456789abcdef"}}, system: []string{"load archive"}},
		{args: "upgrade udev shipped", want: "runs from the shipped image", asks: []control.Request{{Verb: control.Upgrade, Service: "udev"}}},
		{args: "upgrade udev", want: "runs from the shipped image", asks: []control.Request{{Verb: control.Upgrade, Service: "udev"}}},
		{args: "upgrade udev others", code: exitFailed, want: "is for service ntp, not for udev"},
		{args: "upgrade udev none:1", code: exitFailed, want: "none:1 is neither a file nor an image in System Docker, and pulling it failed", system: []string{"pull none:1"}},
		{args: "upgrade web new", code: exitFailed, want: "change rancher.services"},
		{args: "upgrade", code: exitUsage, want: "usage: ros service upgrade SERVICE"},
		{args: "--generate-bash-completion", want: "list\nlogs\nstop\nstart\nrestart\nkill\nupgrade\nrollback\nhistory\nplan\nup\ncreate\nbuild\npull\nrm\nenable\ndisable\nrefresh\ndelete\n"},
		{args: "stop --generate-bash-completion", want: "docker\nudev\n--force\n"},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			system.calls, user.calls = nil, nil
			code, stdout, stderr := ros(p, append([]string{"service"}, strings.Fields(tt.args)...)...)
			if code != tt.code || !strings.Contains(stdout+stderr, tt.want) {
				t.Errorf("exit code %d, %s%s; want %d, %q", code, stdout, stderr, tt.code, tt.want)
			}
			if diff := cmp.Diff(tt.asks, requests()); diff != "" {
				t.Errorf("requests: %s", diff)
			}
			if diff := cmp.Diff([][]string{tt.system, tt.user}, [][]string{system.calls, user.calls}); diff != "" {
				t.Errorf("calls: %s", diff)
			}
		})
	}
	system.loads = []string{"new", "others"}
	if code, _, stderr := ros(p, "service", "upgrade", "udev", archive); code != exitFailed || !strings.Contains(stderr, "has 2 images") {
		t.Errorf("archive with two images: %d, %s", code, stderr)
	}
}

func TestServiceThatIsStopped(t *testing.T) {
	p, engines := testPlaces(t)
	engines["system"].containers = append(engines["system"].containers,
		dockerapi.Container{Name: "syslog", Labels: osService("syslog"), State: dockerapi.Exited, Health: "none"})
	code, got, _ := ros(p, "status")
	if code != exitOK || !strings.Contains(got, "syslog   system   stopped") {
		t.Errorf("exit code %d\n%s", code, got)
	}
}

func TestServiceHistory(t *testing.T) {
	p, _ := testPlaces(t)
	records, err := control.Open(p.records)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)
	err = records.Change("udev", func(r *control.Record) {
		r.Add(control.Event{Time: at, Verb: control.Upgrade, Image: "sha256:0123456789abcdef", Error: "it ended"})
		r.Add(control.Event{Time: at, Verb: control.Rollback})
	})
	if err != nil {
		t.Fatal(err)
	}
	_, got, _ := ros(p, "service", "history", "udev")
	want := `TIME                  WHAT       IMAGE          RESULT
2026-01-02 03:04:05   upgrade    0123456789ab   went back: it ended
2026-01-02 03:04:05   rollback   shipped        runs
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if code, _, stderr := ros(p, "service", "history", "udv"); code != exitFailed || !strings.Contains(stderr, "no image for service udv") {
		t.Errorf("unknown service: %d, %s", code, stderr)
	}
}

func TestEngine(t *testing.T) {
	p, engines, requests := orchestrated(t)
	labelled := func(version string) map[string]string { return map[string]string{images.LabelEngine: version} }
	engines["system"].images = map[string]dockerapi.Image{
		"sha256:dd": {ID: "sha256:dd", Labels: labelled("29.0")},
		"sha256:aa": {ID: "sha256:aa", Labels: labelled("29.7")},
		"sha256:bb": {ID: "sha256:bb", Labels: labelled("26.1")},
		"sha256:cc": {ID: "sha256:cc"},
	}
	engines["system"].containers[0].ImageID = "sha256:aa"
	_, got, _ := ros(p, "engine", "list")
	want := "VERSION   IMAGE   ORIGIN    STATE\n" +
		"29.0      dd      shipped   from the next boot on\n" +
		"29.7      aa      loaded    runs until the next boot\n" +
		"26.1      bb      loaded    -\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, tt := range []struct {
		args string
		code int
		want string
		asks []control.Request
	}{
		{"engine switch 29.7", exitOK, "Service docker runs from image aa.", []control.Request{{Verb: control.Upgrade, Service: "docker", Image: "sha256:aa"}}},
		{"engine switch 26.1", exitFailed, "engine 26.1 cannot take over the containers that 29.0 runs (1)", nil},
		{"service upgrade docker sha256:bb", exitFailed, "engine 26.1 cannot take over", nil},
		{"engine switch --force 26.1", exitOK, "image bb", []control.Request{{Verb: control.Upgrade, Service: "docker", Image: "sha256:bb", Drain: true}}},
		{"engine switch --force 29.7", exitOK, "image aa", []control.Request{{Verb: control.Upgrade, Service: "docker", Image: "sha256:aa"}}},
		{"engine switch sha256:cc", exitFailed, "label " + images.LabelEngine + " is missing", nil},
		{"engine enable 26.1", exitOK, "engine 26.1 from the next boot on", []control.Request{{Verb: control.Enable, Service: "docker", Image: "sha256:bb"}}},
		{"engine enable 29.0", exitOK, "engine 29.0 from the next boot on", []control.Request{{Verb: control.Enable, Service: "docker"}}},
		{"engine list --json", exitOK, `"running": true`, nil},
		{"engine switch --generate-bash-completion", exitOK, "29.7\n", nil},
	} {
		code, stdout, stderr := ros(p, strings.Fields(tt.args)...)
		if code != tt.code || !strings.Contains(stdout+stderr, tt.want) {
			t.Errorf("%s: exit code %d, %s%s; want %d, %q", tt.args, code, stdout, stderr, tt.code, tt.want)
		}
		if diff := cmp.Diff(tt.asks, requests()); diff != "" {
			t.Errorf("%s: requests: %s", tt.args, diff)
		}
	}
	// With nothing to take over any version is as good.
	engines["user"].info.Running = 0
	if code, _, stderr := ros(p, "engine", "switch", "26.1"); code != exitOK {
		t.Errorf("switch without containers: %d, %s", code, stderr)
	}
}

func TestFurtherEngines(t *testing.T) {
	p, engines, requests := orchestrated(t)
	system := engines["system"]
	system.images = map[string]dockerapi.Image{
		"sha256:dd": {ID: "sha256:dd", Labels: map[string]string{images.LabelEngine: "29.0"}},
		"sha256:aa": {ID: "sha256:aa", Labels: map[string]string{images.LabelEngine: "28.5"}},
	}
	system.containers = append(system.containers, dockerapi.Container{
		ID: "c1", Name: "docker-ci", Labels: osService("docker-ci"), State: dockerapi.Running, Health: dockerapi.Healthy, Status: "Up 2 hours (healthy)",
	})
	if err := os.WriteFile(p.records, []byte(`{"docker-ci": {"engine": 3}}`), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args string
		code int
		want string
		asks []control.Request
	}{
		{"engine list", exitOK, "\nNAME   ADDRESS       STATE                  SOCKET\nci     10.209.0.14   Up 2 hours (healthy)   /run/docker-ci/docker.sock\n", nil},
		{"engine list --json", exitOK, `"address": "10.209.0.14"`, nil},
		{"engine create old", exitOK, "docker context create old --docker host=unix:///run/docker-old/docker.sock", []control.Request{{Verb: control.CreateEngine, Service: "docker-old"}}},
		{"engine create --image 28.5 old", exitOK, "Engine old runs", []control.Request{{Verb: control.CreateEngine, Service: "docker-old", Image: "sha256:aa"}}},
		{"engine create --image 29.0 new", exitOK, "Engine new runs", []control.Request{{Verb: control.CreateEngine, Service: "docker-new"}}},
		{"engine create Old", exitUsage, `engine name "Old": want`, nil},
		{"engine create", exitUsage, "", nil},
		{"engine rm old", exitFailed, "there is no engine old", nil},
		{"engine rm ci", exitUsage, "say --yes", nil},
		{"engine rm --yes ci", exitOK, "Engine ci is removed", []control.Request{{Verb: control.RemoveEngine, Service: "docker-ci"}}},
		{"engine rm --generate-bash-completion", exitOK, "ci\n", nil},
		{"service list", exitOK, "docker-ci", nil},
		{"service upgrade docker-ci sha256:aa", exitOK, "runs from image aa", []control.Request{{Verb: control.Upgrade, Service: "docker-ci", Image: "sha256:aa"}}},
		{"service history docker-ci", exitOK, "TIME", nil},
	} {
		code, stdout, stderr := ros(p, strings.Fields(tt.args)...)
		if code != tt.code || !strings.Contains(stdout+stderr, tt.want) {
			t.Errorf("%s: exit code %d, %s%s; want %d, %q", tt.args, code, stdout, stderr, tt.code, tt.want)
		}
		if diff := cmp.Diff(tt.asks, requests()); diff != "" {
			t.Errorf("%s: requests: %s", tt.args, diff)
		}
	}
}

// Images are made by the command line of the daemon that a service runs in.
func TestServiceBuild(t *testing.T) {
	p, _ := testPlaces(t)
	var lines []string
	p.build = func(_ context.Context, args []string) error {
		lines = append(lines, strings.Join(args, " "))
		return nil
	}
	configure(t, p, `rancher:
  services:
    web: {image: 'web:1', build: /opt/web}
    agent:
      image: agent:2
      build: {context: /opt/agent, dockerfile: Dockerfile.small, args: {A: 1}, target: last}
      labels: {io.rancher.os.scope: system}
    far: {image: far, build: {context: 'https://example.org/far.git', dockerfile: F}}
    db: {image: db}
`)
	for _, tt := range []struct {
		args string
		code int
		want []string
		said string
	}{
		{"web", exitOK, []string{"docker build --tag web:1 /opt/web"}, ""},
		{"--no-cache --pull far", exitOK, []string{"docker build --tag far --no-cache --pull --file F https://example.org/far.git"}, ""},
		{"agent", exitOK, []string{"system-docker build --network host --tag agent:2 --target last --build-arg A=1 --file /opt/agent/Dockerfile.small /opt/agent"}, ""},
		{"db", exitFailed, nil, "service db does not say how"},
	} {
		lines = nil
		code, _, stderr := ros(p, append([]string{"service", "build"}, strings.Fields(tt.args)...)...)
		if diff := cmp.Diff(tt.want, lines); diff != "" || code != tt.code || !strings.Contains(stderr, tt.said) {
			t.Errorf("build %s: exit code %d, %s%s", tt.args, code, stderr, diff)
		}
	}
	lines = nil
	if code, _, stderr := ros(p, "service", "build"); code != exitOK || len(lines) != 3 {
		t.Errorf("build of all: exit code %d, %s%q; want three", code, stderr, lines)
	}
}
