package orchestrator

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	"github.com/bulkhead-os/bulkhead/internal/testengine"
	"github.com/bulkhead-os/bulkhead/internal/wait"
	"github.com/bulkhead-os/bulkhead/iso/image"
	"github.com/bulkhead-os/bulkhead/iso/layer"
	"github.com/bulkhead-os/bulkhead/sysdocker/control"
	"github.com/bulkhead-os/bulkhead/sysdocker/plan"
	"github.com/bulkhead-os/bulkhead/sysdocker/preload"
)

// limit is how long anything may take on a busy build machine.
const limit = time.Minute

// TestIntegrationEngine runs two services on a real engine through what happens in
// the life of a machine.
func TestIntegrationEngine(t *testing.T) {
	testengine.Require(t)
	busybox := staticBusybox(t)
	engine := testengine.Start(t)
	client, err := dockerapi.New(engine.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	m := newTestMachine(t, engine, client, busybox)

	first := m.boot()
	if first.images != 2 {
		t.Errorf("first boot loaded %d images; want 2", first.images)
	}
	if diff := cmp.Diff([]string{"udev", "network"}, first.settled); diff != "" {
		t.Errorf("order of readiness:\n%s", diff)
	}
	before := m.containers()

	t.Run("killed", func(t *testing.T) {
		m.t = t
		// The shim was started for udev and outlives that run of it.
		m.kill("udev")
		m.kill("network")
		if id := m.containers()["network"].ID; id != before["network"].ID {
			t.Error("network was made anew")
		}
	})
	t.Run("removed", func(t *testing.T) {
		m.t = t
		if err := client.Remove(t.Context(), "network"); err != nil {
			t.Fatal(err)
		}
		m.await("network is there again", func(c map[string]dockerapi.Container) bool {
			return c["network"].State == dockerapi.Running && c["network"].ID != before["network"].ID
		})
	})
	t.Run("shim killed", func(t *testing.T) {
		m.t = t
		udev, network := m.process("udev"), m.process("network")
		shim := parent(t, udev)
		if other := parent(t, network); other != shim {
			t.Errorf("udev has shim %d and network %d; want one for both", shim, other)
		}
		if err := syscall.Kill(shim, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		m.await("both run again", func(c map[string]dockerapi.Container) bool {
			a, b := m.engine.Pid(c["udev"].ID), m.engine.Pid(c["network"].ID)
			return a != 0 && a != udev && b != 0 && b != network &&
				c["udev"].State == dockerapi.Running && c["network"].State == dockerapi.Running
		})
	})
	t.Run("containerd restarts", func(t *testing.T) {
		m.t = t
		engine.StopContainerd()
		engine.StartContainerd()
		m.awaitEvents()
		m.kill("udev")
	})
	t.Run("other images", func(t *testing.T) {
		m.t = t
		before := m.containers()
		good, broken := m.loadImage("good", busybox), m.loadImage("broken", os.DevNull)
		ask := func(verb control.Verb, image string) error {
			return first.request(t.Context(), control.Request{Verb: verb, Service: "network", Image: image}, func(string) {})
		}
		if err := ask(control.Upgrade, broken); err == nil || !strings.Contains(err.Error(), "the shipped image runs again") {
			t.Errorf("upgrade to a broken image: %v", err)
		}
		if err := ask(control.Upgrade, good); err != nil {
			t.Error(err)
		}
		if got := m.containers()["network"]; got.ImageID != good || got.State != dockerapi.Running {
			t.Errorf("after the upgrade: %+v", got)
		}
		if err := ask(control.Rollback, ""); err != nil {
			t.Error(err)
		}
		if got := m.containers(); got["network"].ImageID != before["network"].ImageID || got["udev"].ID != before["udev"].ID {
			t.Errorf("after the rollback: %+v", got)
		}
	})
	m.t = t
	first.stop()
	for name, c := range m.containers() {
		if c.State != dockerapi.Exited {
			t.Errorf("after the stop %s is %s", name, c.State)
		}
	}

	t.Run("second boot", func(t *testing.T) {
		m.t = t
		before := m.containers()
		second := m.boot()
		defer second.stop()
		if second.images != 0 {
			t.Errorf("second boot loaded %d images; want none", second.images)
		}
		for name, c := range m.containers() {
			if c.ID != before[name].ID {
				t.Errorf("%s was made anew", name)
			}
		}
	})
	t.Run("changed declaration", func(t *testing.T) {
		m.t = t
		before := m.containers()
		m.decls[1].Service.PidsLimit++
		third := m.boot()
		defer third.stop()
		after := m.containers()
		if after["udev"].ID != before["udev"].ID || after["network"].ID == before["network"].ID {
			t.Error("want network made anew and udev untouched")
		}
	})
	t.Run("changed image", func(t *testing.T) {
		m.t = t
		m.buildImages("2", busybox)
		fourth := m.boot()
		defer fourth.stop()
		if fourth.images != 2 {
			t.Errorf("loaded %d images; want 2", fourth.images)
		}
	})
	t.Run("service is no more", func(t *testing.T) {
		m.t = t
		m.decls = m.decls[:1]
		fifth := m.boot()
		defer fifth.stop()
		m.await("network is gone", func(c map[string]dockerapi.Container) bool { return len(c) == 1 })
	})
}

// testMachine is a machine with two services, the second after the first.
type testMachine struct {
	t      *testing.T
	engine *testengine.Engine
	client *dockerapi.Client
	decls  []images.Declaration
	index  images.Index
	dir    string
}

func newTestMachine(t *testing.T, engine *testengine.Engine, client *dockerapi.Client, busybox string) *testMachine {
	m := &testMachine{t: t, engine: engine, client: client, dir: t.TempDir()}
	run := filepath.Join(m.dir, "run")
	declare := func(name string, after ...string) images.Declaration {
		return images.Declaration{Name: name, Service: images.Service{
			// The shell must handle SIGTERM: as process 1 it gets no default action.
			Command:   []string{"/bin/busybox", "sh", "-c", "trap 'exit 0' TERM; echo > /r/" + name + "; while :; do /bin/busybox sleep 0.2; done"},
			Volumes:   []string{run + ":/r"},
			ReadOnly:  true,
			PidsLimit: 16,
			// Less would need a capability that a build machine may lack.
			OomScoreAdj: new(0),
			After:       after,
			// Most services of the OS do, so it goes through all that follows.
			SharedShim: true,
			Ready:      &images.Ready{File: filepath.Join(run, name), Timeout: images.Duration(limit)},
			// Another image is kept once the daemon says that it is healthy.
			Healthcheck: &images.Healthcheck{Test: []string{"CMD", "/bin/busybox", "true"}, Interval: images.Duration(2 * time.Second)},
		}}
	}
	m.decls = []images.Declaration{declare("udev"), declare("network", "udev")}
	m.buildImages("1", busybox)
	return m
}

// buildImages makes both images from one layer that holds busybox.
func (m *testMachine) buildImages(version, busybox string) {
	m.t.Helper()
	l := busyboxLayer(m.t, m.dir, busybox)
	m.index = images.Index{}
	for _, d := range m.decls {
		img, err := image.New(d, version, []layer.Layer{l}, nil)
		if err != nil {
			m.t.Fatal(err)
		}
		entry := img.IndexEntry()
		if err := img.WriteFile(filepath.Join(m.dir, entry.Archive)); err != nil {
			m.t.Fatal(err)
		}
		m.index.Images = append(m.index.Images, entry)
	}
}

// loadImage loads another image of the last service, with this program for
// busybox, and returns its ID.
func (m *testMachine) loadImage(version, program string) string {
	m.t.Helper()
	img, err := image.New(m.decls[len(m.decls)-1], version, []layer.Layer{busyboxLayer(m.t, m.t.TempDir(), program)}, nil)
	if err != nil {
		m.t.Fatal(err)
	}
	archive := filepath.Join(m.t.TempDir(), "image.tar")
	if err := img.WriteFile(archive); err != nil {
		m.t.Fatal(err)
	}
	f, err := os.Open(archive)
	if err != nil {
		m.t.Fatal(err)
	}
	defer f.Close()
	if err := m.client.LoadImage(m.t.Context(), f); err != nil {
		m.t.Fatal(err)
	}
	return img.IndexEntry().Manifest
}

// booted is a machine that has come up.
type booted struct {
	images  int
	settled []string
	request func(context.Context, control.Request, func(string)) error
	stop    func()
}

// boot runs the orchestrator until everything is ready.
func (m *testMachine) boot() booted {
	m.t.Helper()
	if err := os.RemoveAll(filepath.Join(m.dir, "run")); err != nil { // a tmpfs on a real machine
		m.t.Fatal(err)
	}
	records, err := control.Open(filepath.Join(m.dir, "services.json"))
	if err != nil {
		m.t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(m.t.Output(), nil))
	host := &realHost{fakeHost: &fakeHost{t: m.t, booting: make(chan int, 1)}}
	daemon := struct {
		*dockerapi.Client
		*preload.Loader
	}{m.client, &preload.Loader{Store: m.client, Dir: m.dir, Log: log}}
	s := newReconciler(daemon, daemon, host, records, plan.Inputs{Declarations: m.decls, Index: m.index, BootID: m.t.Name()}, log)
	b := booted{request: s.request}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.run(ctx) }()
	t := m.t
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(b.stop)
	select {
	case b.images = <-host.booting:
	case <-time.After(limit):
		b.stop()
		t.Fatal("not all services are ready in time")
	}
	host.mu.Lock()
	defer host.mu.Unlock()
	for _, line := range host.done {
		if strings.Contains(line, ": ") {
			m.t.Error(line)
		}
	}
	b.settled = host.done
	return b
}

// realHost is a fake one on which services become ready by themselves.
type realHost struct{ *fakeHost }

func (realHost) condition(r images.Ready) wait.Condition { return (&machine{}).condition(r) }

func (m *testMachine) containers() map[string]dockerapi.Container {
	m.t.Helper()
	list, err := m.client.Containers(m.t.Context(), "")
	if err != nil {
		m.t.Fatal(err)
	}
	byName := make(map[string]dockerapi.Container)
	for _, c := range list {
		byName[c.Name] = c
	}
	return byName
}

// awaitEvents waits until the daemon listens to containerd again. An end in
// between escapes it for ever; the services of the OS have health checks for
// that.
func (m *testMachine) awaitEvents() {
	m.t.Helper()
	const name = "probe"
	spec := dockerapi.Spec{
		Config:  &container.Config{Image: m.index.Images[0].Ref, Cmd: []string{"/bin/busybox", "true"}},
		Host:    &container.HostConfig{NetworkMode: network.NetworkNone},
		Network: &network.NetworkingConfig{},
	}
	m.await("the end of a container is noticed", func(map[string]dockerapi.Container) bool {
		if _, err := m.client.Create(m.t.Context(), name, spec); err != nil {
			return false
		}
		defer func() {
			if err := m.client.Remove(m.t.Context(), name); err != nil {
				m.t.Error(err)
			}
		}()
		if err := m.client.Start(m.t.Context(), name); err != nil {
			return false
		}
		for range 40 {
			if m.containers()[name].State == dockerapi.Exited {
				return true
			}
			time.Sleep(50 * time.Millisecond)
		}
		return false
	})
}

// await waits until the containers are as told.
func (m *testMachine) await(what string, holds func(map[string]dockerapi.Container) bool) {
	m.t.Helper()
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if holds(m.containers()) {
			return
		}
	}
	m.t.Fatalf("not within %s: %s; containers: %v", limit, what, m.containers())
}

// kill ends a service's main process as the kernel's OOM killer would, and
// waits until there is another one.
func (m *testMachine) kill(name string) {
	m.t.Helper()
	pid := m.process(name)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		m.t.Fatalf("kill %s: %v", name, err)
	}
	m.await(name+" runs again", func(c map[string]dockerapi.Container) bool {
		now := m.engine.Pid(c[name].ID)
		return c[name].State == dockerapi.Running && now != 0 && now != pid
	})
}

// process returns the ID of a service's main process.
func (m *testMachine) process(name string) int {
	m.t.Helper()
	pid := m.engine.Pid(m.containers()[name].ID)
	if pid == 0 {
		m.t.Fatalf("%s does not run", name)
	}
	return pid
}

// parent returns the ID of a process's parent.
func parent(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), "\nPPid:\t")
	line, _, _ := strings.Cut(after, "\n")
	ppid, err := strconv.Atoi(line)
	if err != nil {
		t.Fatal(err)
	}
	return ppid
}

// staticBusybox returns the path of a busybox that runs without libraries.
func staticBusybox(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("no busybox: install busybox-static")
	}
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Skipf("%s needs libraries: install busybox-static", path)
		}
	}
	return path
}

// busyboxLayer writes a layer with /bin/busybox and the mount point /r.
func busyboxLayer(t *testing.T, dir, busybox string) layer.Layer {
	t.Helper()
	program, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	l := layer.Layer{Name: "busybox", Tar: filepath.Join(dir, "layer.tar")}
	f, err := os.Create(l.Tar)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sum := sha256.New()
	tw := tar.NewWriter(io.MultiWriter(f, sum))
	for _, h := range []tar.Header{
		{Name: "bin/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "bin/busybox", Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(program))},
		{Name: "r/", Typeflag: tar.TypeDir, Mode: 0o755},
	} {
		if err := tw.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := tw.Write(program); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	if l.Size, err = f.Seek(0, io.SeekCurrent); err != nil {
		t.Fatal(err)
	}
	l.DiffID = hex.EncodeToString(sum.Sum(nil))
	return l
}
