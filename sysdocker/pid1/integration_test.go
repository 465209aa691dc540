package pid1

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/power"
	"github.com/bulkhead-os/bulkhead/internal/testengine"
	"github.com/bulkhead-os/bulkhead/internal/wait"
	"github.com/bulkhead-os/bulkhead/iso/image"
	"github.com/bulkhead-os/bulkhead/iso/layer"
)

// TestMachine boots the real engine as PID 1 of a namespace of its own.
func TestMachine(t *testing.T) {
	testengine.Require(t)
	bin := testengine.Build(t)

	t.Run("life", func(t *testing.T) { testLife(t, newMachine(t, bin)) })
	t.Run("restart", func(t *testing.T) {
		m := newMachine(t, bin)
		m.boot()
		m.awaitAPI()
		m.kill(syscall.SIGINT) // Ctrl-Alt-Del
		m.awaitEnd(syscall.SIGHUP)
	})
	t.Run("signals", func(t *testing.T) {
		m := newMachine(t, bin)
		m.boot()
		m.awaitAPI()
		for range 5 {
			for _, sig := range harmless {
				m.kill(sig.(syscall.Signal))
			}
		}
		m.awaitAPI()
		// More than the daemon's own main would survive, in one second.
		for range 6 {
			m.kill(syscall.SIGTERM)
			time.Sleep(150 * time.Millisecond)
		}
		m.awaitEnd(syscall.SIGINT)
		if log := m.log(); !strings.Contains(log, "orchestrator: stopped") {
			t.Error("services were not stopped in order")
		}
	})
	t.Run("mistake in the operator's file", func(t *testing.T) {
		for _, content := range []string{`{"log-level": "loud"}`, `{"hosts": ["tcp://0.0.0.0:1"]}`, `debug: yes`} {
			m := newMachine(t, bin)
			m.write(layout.SystemDaemonConfig, content, 0o644)
			m.boot()
			m.awaitAPI()
			if log := m.log(); !strings.Contains(log, "bulkhead: FAILED step=system-docker/config") {
				t.Errorf("%s: no word about the mistake", content)
			}
		}
	})
	t.Run("operator's file", func(t *testing.T) {
		m := newMachine(t, bin)
		m.write(layout.SystemDaemonConfig, `{"labels": ["where=here"], "log-driver": "json-file"}`, 0o644)
		m.boot()
		m.awaitAPI()
		if log := m.log(); strings.Contains(log, "FAILED") || !strings.Contains(log, "API listen") {
			t.Error("the file was not taken")
		}
	})
	t.Run("damaged store", func(t *testing.T) {
		m := newMachine(t, bin)
		db := filepath.Join(layout.SystemContainerdRoot, "io.containerd.metadata.v1.bolt", "meta.db")
		must(t, os.MkdirAll(filepath.Join(m.top, filepath.Dir(db)), 0o755))
		m.write(db, strings.Repeat("torn", 4096), 0o600)
		m.boot()
		m.awaitLog("starting with a fresh store")
		m.awaitAPI()
		old, err := filepath.Glob(filepath.Join(m.top, layout.SystemDataRoot+".damaged-*"))
		if err != nil || len(old) != 1 {
			t.Errorf("damaged store: %v, %v; want it kept", old, err)
		}
	})
	t.Run("read-only disk", func(t *testing.T) {
		m := newMachine(t, bin)
		must(t, os.Mkdir(filepath.Join(m.top, layout.SystemDataRoot), 0o710))
		m.cmd.Env = append(m.cmd.Env, "BROKEN_DISK=1")
		m.boot()
		m.awaitLog("starting with a store in memory")
		m.awaitAPI()
	})
	t.Run("rescue", func(t *testing.T) {
		m := newMachine(t, bin)
		must(t, os.Remove(filepath.Join(m.top, layout.EngineBin, "containerd")))
		m.boot()
		m.awaitLog("starting with a store in memory")
		m.awaitLog("bulkhead: rescue shell")
		m.kill(power.SigPowerOff)
		m.awaitEnd(syscall.SIGINT)
	})
}

// testLife runs containers from mounted layers, loses containerd, and powers off.
func testLife(t *testing.T, m *machine) {
	archive := m.shipImage()
	// Where the test runs, nobody may raise limits.
	m.write(layout.SystemDaemonConfig, `{"default-ulimits": {}}`, 0o644)
	m.boot()
	m.awaitAPI()
	m.awaitLog("orchestrator: runs with OOM score 0")
	if comm, err := os.ReadFile(m.path("/proc/1/comm")); err != nil || string(comm) != "dockerd\n" {
		t.Errorf("PID 1 is %q, %v; want dockerd", comm, err)
	}
	m.await("the socket is private", func() bool {
		fi, err := os.Stat(m.path(layout.SystemSocket))
		return err == nil && fi.Mode().Perm() == 0o600
	})
	client, err := dockerapi.New(m.path(layout.SystemSocket))
	must(t, err)
	defer client.Close()
	must(t, client.LoadImage(t.Context(), bytes.NewReader(archive)))
	for range 10 {
		m.run(client)
	}
	m.await("no zombies", func() bool { return m.zombies() == 0 })

	before := m.containerd()
	must(t, syscall.Kill(before, syscall.SIGKILL))
	start := time.Now()
	m.await("containerd is back", func() bool { now := m.containerd(); return now != 0 && now != before })
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("containerd came back after %s; want it at once", took)
	}
	m.await("containers run again", func() bool { return m.tryRun(client) == nil })

	m.kill(power.SigPowerOff)
	m.awaitEnd(syscall.SIGINT)
	order := []string{
		"stopping services to power off", "program=orchestrator", "step=services",
		"Daemon shutdown complete", "step=daemon", "step=containerd", "step=processes",
	}
	if !strings.Contains(m.log(), "orchestrator: stopped") {
		t.Error("services were not stopped in order")
	}
	rest := m.log()
	for _, text := range order {
		_, after, ok := strings.Cut(rest, text)
		if !ok {
			t.Fatalf("log does not say %q after what comes before it", text)
		}
		rest = after
	}
}

func (m *machine) awaitAPI() {
	m.t.Helper()
	m.await("API answers", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		return wait.DockerAPI(m.path(layout.SystemSocket)).Check(ctx) == nil
	})
	m.awaitLog("API listen on")
}

// shipImage puts an image with one layer into the machine and returns its
// archive.
func (m *machine) shipImage() []byte {
	m.t.Helper()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		m.t.Skip("no busybox: install busybox-static")
	}
	program, err := os.ReadFile(busybox)
	must(m.t, err)
	diffID := strings.Repeat("a", 64)
	dir := filepath.Join(layout.LayersDir, diffID, "bin")
	must(m.t, os.MkdirAll(filepath.Join(m.top, dir), 0o755))
	m.write(filepath.Join(dir, "busybox"), string(program), 0o755)
	img, err := image.New(images.Declaration{Name: "test"}, "1", []layer.Layer{{Name: "test", DiffID: diffID}}, nil)
	must(m.t, err)
	m.write(layout.ImageIndex, `{"images":[{"name":"test","diff_ids":["sha256:`+diffID+`"]}]}`, 0o644)
	archive, err := img.Bare()
	must(m.t, err)
	return archive
}

func (m *machine) run(client *dockerapi.Client) {
	m.t.Helper()
	must(m.t, m.tryRun(client))
}

// tryRun runs a container to its end and removes it.
func (m *machine) tryRun(client *dockerapi.Client) error {
	ctx, cancel := context.WithTimeout(m.t.Context(), 20*time.Second)
	defer cancel()
	id, err := client.Create(ctx, "test", dockerapi.Spec{
		Config: &container.Config{Image: images.Ref("test", "1"), Cmd: []string{"/bin/busybox", "true"}},
		Host:   &container.HostConfig{NetworkMode: "none"},
	})
	if err != nil {
		return err
	}
	err = client.Start(ctx, id)
	for err == nil {
		var list []dockerapi.Container
		if list, err = client.Containers(ctx, ""); err == nil && len(list) == 1 && list[0].State == dockerapi.Exited {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if rmErr := client.Remove(context.WithoutCancel(ctx), id); err == nil {
		err = rmErr
	}
	return err
}

// zombies counts the dead children of PID 1.
func (m *machine) zombies() int {
	zombies, err := zombiesOf(m.path("/proc"), 1)
	must(m.t, err)
	return len(zombies)
}

// containerd returns the process ID of containerd as this machine sees it, or 0.
func (m *machine) containerd() int {
	pid := 0
	must(m.t, eachProcess("/proc", func(p process) {
		if p.parent != m.cmd.Process.Pid {
			return
		}
		cmdline, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.pid), "cmdline"))
		if bytes.HasPrefix(cmdline, []byte(layout.EngineBin+"/containerd\x00")) {
			pid = p.pid
		}
	}))
	return pid
}
