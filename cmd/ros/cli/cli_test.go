package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-os/bulkhead/internal/bootlog"
	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	"github.com/bulkhead-os/bulkhead/internal/slots"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
	"github.com/bulkhead-os/bulkhead/os-config/conffile"
	"github.com/bulkhead-os/bulkhead/sysdocker/plan"
	"github.com/bulkhead-os/bulkhead/sysdocker/preload"
)

// fakeEngine answers with what it is made of.
type fakeEngine struct {
	engine     // what is not below is not to be called
	info       dockerapi.Info
	containers []dockerapi.Container // with a label of their own
	images     map[string]dockerapi.Image
	loads      []string
	archive    map[string]dockerapi.Image // what an archive adds to images
	rights     map[string]dockerapi.Rights
	pids       map[string]int
	err        error
	calls      []string
}

func (e *fakeEngine) Info(context.Context) (dockerapi.Info, error) { return e.info, e.err }

func (e *fakeEngine) Containers(_ context.Context, label string) ([]dockerapi.Container, error) {
	return slices.DeleteFunc(slices.Clone(e.containers), func(c dockerapi.Container) bool {
		_, ok := c.Labels[label]
		return !ok && label != ""
	}), e.err
}

func (e *fakeEngine) did(what, id string) error {
	e.calls = append(e.calls, what+" "+id)
	return e.err
}

func (e *fakeEngine) Start(_ context.Context, id string) error   { return e.did("start", id) }
func (e *fakeEngine) Stop(_ context.Context, id string) error    { return e.did("stop", id) }
func (e *fakeEngine) Restart(_ context.Context, id string) error { return e.did("restart", id) }
func (e *fakeEngine) Kill(_ context.Context, id string) error    { return e.did("kill", id) }

func (e *fakeEngine) Rights(_ context.Context, id string) (dockerapi.Rights, int, error) {
	return e.rights[id], e.pids[id], e.err
}

func (e *fakeEngine) Logs(_ context.Context, id, last string, follow bool, stdout, _ io.Writer) error {
	_, err := fmt.Fprintf(stdout, "%s of %s, follow %v\n", last, id, follow)
	return err
}

func (e *fakeEngine) Image(_ context.Context, ref string) (dockerapi.Image, error) {
	if i, ok := e.images[ref]; ok {
		return i, nil
	}
	return dockerapi.Image{}, errdefs.ErrNotFound
}

func (e *fakeEngine) Images(_ context.Context, label string) ([]dockerapi.Image, error) {
	var list []dockerapi.Image
	for _, ref := range slices.Sorted(maps.Keys(e.images)) {
		if _, ok := e.images[ref].Labels[label]; ok {
			list = append(list, e.images[ref])
		}
	}
	return list, nil
}

func (e *fakeEngine) LoadImages(context.Context, io.Reader) ([]string, error) {
	if e.archive != nil {
		e.images = e.archive
	}
	return e.loads, e.did("load", "archive")
}

func (e *fakeEngine) PullImage(_ context.Context, ref string, _ dockerapi.Login) error {
	_ = e.did("pull", ref)
	return errors.New("no route to host")
}

func (*fakeEngine) Close() error { return nil }

var configuredService = map[string]string{plan.LabelConfigured: "x"}

func osService(name string) map[string]string { return map[string]string{plan.LabelService: name} }

// testPlaces is a machine in good health.
func testPlaces(t *testing.T) (places, map[string]*fakeEngine) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	report, err := json.Marshal(bootlog.Report{
		Version: "1.0", Kernel: "6.12.1", SystemDocker: 3.5, UserDocker: 9.25, Ready: 9.75,
		Steps: []bootlog.Step{{Name: "init/mount-root", Start: 1, End: 2}},
	})
	if err != nil {
		t.Fatal(err)
	}
	engines := map[string]*fakeEngine{
		"system": {
			info: dockerapi.Info{Version: "29.0", Running: 2, Containers: 2, Images: 8},
			containers: []dockerapi.Container{
				{ID: "d1", Name: "docker", Labels: osService("docker"), State: dockerapi.Running, Health: dockerapi.Healthy, Status: "Up 3 minutes (healthy)"},
				{ID: "u1", Name: "udev", Labels: osService("udev"), State: dockerapi.Running, Health: "none", Status: "Up 3 minutes"},
				{ID: "x1", Name: "agent", Labels: configuredService, State: dockerapi.Running, Health: "none", Status: "Up 2 minutes"},
			},
		},
		"user": {
			info: dockerapi.Info{Version: "29.0", Running: 1, Containers: 4, Images: 3},
			containers: []dockerapi.Container{
				{ID: "w1", Name: "web", Labels: configuredService, State: dockerapi.Exited, Health: "none", Status: "Exited (0)"},
			},
		},
	}
	tier := filepath.Join(dir, "tier")
	if err := os.Mkdir(tier, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"memory.current": "314572800\n", "memory.max": "1879048192\n", "memory.swap.current": "0\n", "memory.swap.max": "0\n",
		"pids.current": "84\n", "pids.max": "max\n", "memory.events": "low 0\noom 3\noom_kill 2\noom_group_kill 0\n",
	} {
		write(filepath.Join("tier", name), content)
	}
	return places{
		bootReport:   write("boot.json", string(report)),
		systemSocket: "system", userSocket: "user",
		mountinfo: write("mountinfo", ""+
			"20 1 0:5 / / ro - erofs /bulkhead/medium/root.erofs ro\n"+
			"21 20 254:1 /var/lib /var/lib rw,relatime - ext4 /dev/vda1 rw\n"+
			"22 20 0:6 / /var/lib/docker rw - tmpfs none rw\n"),
		root: dir, kernelLine: write("cmdline", ""), problems: filepath.Join(dir, "problems"),
		records:         write("services.json", `{"syslog": {"stopped": true}}`),
		imageIndex:      write("index.json", `{"images": [{"name": "docker", "manifest": "sha256:dd"}, {"name": "udev", "manifest": "sha256:ee", "diff_ids": ["sha256:base", "sha256:udev"]}]}`),
		userTier:        tier,
		kernel:          kernel{proc: filepath.Join(dir, "proc"), cgroups: filepath.Join(dir, "cgroup")},
		meminfo:         write("meminfo", "MemTotal:  2097152 kB\nMemFree:   11 kB\nMemAvailable:  1048576 kB\n"),
		configProblems:  filepath.Join(dir, "config-problems"), // as on a machine without any: not there
		userProblems:    filepath.Join(dir, "user-problems"),
		unpack:          preload.AsIs,
		preloadProblems: []string{filepath.Join(dir, "preload")},
		userFailure:     filepath.Join(dir, "user-failure"),
		systems:         func() ([]slots.System, error) { return nil, nil },
		space:           func(string) (total, available int64, err error) { return 8 << 30, 6 << 30, nil },
		connect:         func(socket string) (engine, error) { return engines[socket], nil },
	}, engines
}

// ros runs the command in process.
func ros(p places, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = p.run(context.Background(), append([]string{"ros"}, args...), &out, &errs)
	return code, out.String(), errs.String()
}

func TestCommands(t *testing.T) {
	p, _ := testPlaces(t)
	tests := []struct {
		args           string
		code           int
		stdout, stderr string // parts of it
	}{
		{"", exitOK, "COMMANDS:", ""},
		{"--help", exitOK, "ros boot-chart > boot.svg", ""},
		{"-v", exitOK, "ros version development\n", ""},
		{"os version", exitOK, "development\n", ""},
		{"os", exitOK, "version", ""},
		{"boot-chart", exitOK, "<svg", ""},
		{"boot-chart --json", exitOK, `"name": "init/mount-root"`, ""},
		{"service list", exitOK, "docker   system   running   healthy   shipped   Up 3 minutes (healthy)\n", ""},
		{"service ps", exitOK, "udev     system   running   -         shipped   Up 3 minutes\n", ""},
		{"status --json", exitOK, `"total": 2147483648`, ""},
		{"completion", exitOK, "complete -F _ros ros\n", ""},
		{"--generate-bash-completion", exitOK, "status\nservice\nengine\nconsole\nconfig\naudit\ninstall\nos\n", ""},
		{"service --generate-bash-completion", exitOK, "list\n", ""},
		{"status --generate-bash-completion", exitOK, "--json\n", ""},
		{"sevice", exitUsage, "", `ros: no command "sevice"; there are status, service, engine, console, config, audit, install, os`},
		{"service lst", exitUsage, "", `no command "lst"; there are list`},
		{"service list ntp", exitUsage, "", `takes no argument "ntp"`},
		{"status --yaml", exitUsage, "", "Try: ros --help"},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			code, stdout, stderr := ros(p, strings.Fields(tt.args)...)
			if code != tt.code || !strings.Contains(stdout, tt.stdout) || !strings.Contains(stderr, tt.stderr) {
				t.Errorf("ros %s: exit code %d\nstdout: %s\nstderr: %s\nwant %d, %q, %q", tt.args, code, stdout, stderr, tt.code, tt.stdout, tt.stderr)
			}
			if tt.stderr == "" && stderr != "" {
				t.Errorf("ros %s complains: %s", tt.args, stderr)
			}
		})
	}
}

func TestStatus(t *testing.T) {
	p, _ := testPlaces(t)
	code, got, _ := ros(p, "status")
	want := `Bulkhead       development
Kernel         6.12.1
Ready after    9.8 s (system Docker 3.5 s, user Docker 9.2 s)
System Docker  29.0, 2 of 2 containers running, 8 images
User Docker    29.0, 1 of 4 containers running, 3 images
State          /dev/vda1 (ext4), 2048 MiB in use of 8192 MiB
Memory         1024 MiB in use of 2048 MiB
User tier      300 MiB in use of 1792 MiB, 84 processes of any number
               2 processes killed since the boot because memory ran out: dmesg names them

NAME     TIER     STATE     HEALTH    IMAGE     STATUS
docker   system   running   healthy   shipped   Up 3 minutes (healthy)
udev     system   running   -         shipped   Up 3 minutes
`
	if diff := cmp.Diff(want, got); diff != "" || code != exitOK {
		t.Errorf("exit code %d\n%s", code, diff)
	}
}

func TestStatusJSON(t *testing.T) {
	p, _ := testPlaces(t)
	_, got, _ := ros(p, "status", "--json")
	var s status
	if err := json.Unmarshal([]byte(got), &s); err != nil {
		t.Fatalf("%v in\n%s", err, got)
	}
	if want := (stateMedium{Device: "/dev/vda1", FileSystem: "ext4", Total: 8 << 30, Available: 6 << 30}); s.State != want {
		t.Errorf("state = %+v; want %+v", s.State, want)
	}
}

func TestStatusTellsWhatIsWrong(t *testing.T) {
	p, engines := testPlaces(t)
	p.bootReport += ".none"
	engines["system"].containers[1].State = dockerapi.Exited
	engines["user"].err = errors.New("daemon is on fire")
	p.space = func(string) (total, available int64, err error) { return 8 << 30, 60 << 20, nil }
	if err := conffile.ProblemFile(p.configProblems).Write([]osconfig.Problem{
		{Source: "user.yml", Line: 3, Column: 1, Key: "hostnme", Text: "unknown key; did you mean hostname?"},
		{Severity: osconfig.Warning, Source: "user.yml", Line: 4, Column: 1, Key: "apt", Text: "not supported here"},
	}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.userProblems, []byte("daemon.json: data-root: left out: no place\ndaemon.json: mtu: left out\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.userFailure, []byte("daemon.json: line 3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.preloadProblems[0], []byte("preload /dev/sdb/docker/a.tar: skipped\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, got, _ := ros(p, "status")
	for _, want := range []string{
		"no boot report yet",
		"images: preload /dev/sdb/docker/a.tar: skipped",
		"service udev is exited, health none: see system-docker logs udev",
		"user Docker: daemon is on fire",
		"state: 60 MiB are left",
		"configuration: user.yml:3:1: hostnme",
		"user Docker: daemon.json: data-root: left out: no place",
		"user Docker: daemon.json: mtu: left out",
		"user Docker: daemon.json: line 3",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("status does not say %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "apt") {
		t.Errorf("a warning is called a problem:\n%s", got)
	}
	if code != exitFailed {
		t.Errorf("exit code %d; want %d", code, exitFailed)
	}
}
