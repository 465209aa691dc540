package orchestrator

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	"github.com/bulkhead-os/bulkhead/internal/wait"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
	"github.com/bulkhead-os/bulkhead/sysdocker/control"
	"github.com/bulkhead-os/bulkhead/sysdocker/plan"
)

// fakeEngine is a Docker daemon and an image loader in memory. It writes down
// what it is asked for.
type fakeEngine struct {
	mu         sync.Mutex
	containers map[string]*dockerapi.Container // by name, which is the ID as well
	calls      []string
	breakStart func(name string) error
	breakWith  chan error // breaks the event stream
	events     chan string
	exitCode   int64
	slow       time.Duration            // what loading an image takes
	slowStart  time.Duration            // what starting a container takes
	slowly     map[string]time.Duration // and one of these
	// health is what containers made from an image start with; healthy if not set.
	health map[string]string
	gone   string                       // an image that is not there any more
	labels map[string]map[string]string // of images
	// console is rancher.console for the first orchestrator of a boot; the next
	// ones find it empty. kept and told are what became of it.
	console string
	kept    []string
	told    []string
}

func newFakeEngine() *fakeEngine {
	return &fakeEngine{
		containers: map[string]*dockerapi.Container{},
		breakWith:  make(chan error),
		events:     make(chan string),
	}
}

// call writes down a call; f runs under the lock.
func (e *fakeEngine) call(what, name string, f func() error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls = append(e.calls, what+" "+name)
	return f()
}

// took returns the calls since the last time.
func (e *fakeEngine) took() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	calls := e.calls
	e.calls = nil
	return calls
}

// change changes a container behind the orchestrator's back and sends the
// event that a daemon would.
func (e *fakeEngine) change(name string, f func(*dockerapi.Container)) {
	e.mu.Lock()
	f(e.containers[name])
	e.mu.Unlock()
	e.events <- name
}

func (e *fakeEngine) die(name string) {
	e.change(name, func(c *dockerapi.Container) { c.State, c.Status = dockerapi.Exited, "Exited (137)" })
}

func (e *fakeEngine) sicken(name string) {
	e.change(name, func(c *dockerapi.Container) { c.Health = dockerapi.Unhealthy })
}

func (e *fakeEngine) Containers(_ context.Context, label string) ([]dockerapi.Container, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var list []dockerapi.Container
	for _, name := range slices.Sorted(maps.Keys(e.containers)) {
		key, value, _ := strings.Cut(label, "=")
		if c := e.containers[name]; value == "" || c.Labels[key] == value {
			list = append(list, *c)
		}
	}
	return list, nil
}

func (e *fakeEngine) Create(_ context.Context, name string, spec dockerapi.Spec) (string, error) {
	return name, e.call("create", name, func() error {
		if e.containers[name] != nil {
			return errdefs.ErrConflict
		}
		e.containers[name] = &dockerapi.Container{
			ID: name, Name: name, Labels: spec.Config.Labels, ImageID: manifest(spec.Config.Image), State: dockerapi.Created,
			Health: e.health[spec.Config.Image],
		}
		return nil
	})
}

func (e *fakeEngine) Start(_ context.Context, id string) error {
	time.Sleep(e.slowStart + e.slowly[id])
	return e.call("start", id, func() error {
		if e.breakStart != nil {
			if err := e.breakStart(id); err != nil {
				return err
			}
		}
		e.containers[id].State = dockerapi.Running
		if e.containers[id].Health == "" {
			e.containers[id].Health = dockerapi.Healthy
		}
		return nil
	})
}

func (e *fakeEngine) Stop(_ context.Context, id string) error {
	return e.call("stop", id, func() error {
		if e.containers[id] == nil {
			return errdefs.ErrNotFound
		}
		e.containers[id].State = dockerapi.Exited
		return nil
	})
}

func (e *fakeEngine) Kill(_ context.Context, id string) error {
	return e.call("kill", id, func() error {
		e.containers[id].State = dockerapi.Exited
		return nil
	})
}

func (e *fakeEngine) Remove(_ context.Context, id string) error {
	return e.call("remove", id, func() error {
		delete(e.containers, id)
		return nil
	})
}

func (e *fakeEngine) ExitCode(_ context.Context, id string) (int64, error) {
	return e.exitCode, e.call("exit code of", id, func() error {
		e.containers[id].State = dockerapi.Exited
		return nil
	})
}

func (e *fakeEngine) Changes(ctx context.Context, _ string, changed func(string, bool)) error {
	changed("", false)
	for {
		select {
		case name := <-e.events:
			changed(name, false)
		case err := <-e.breakWith:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (e *fakeEngine) Ensure(_ context.Context, i images.IndexEntry) (bool, error) {
	err := e.call("load", i.Name, func() error { return nil })
	time.Sleep(e.slow)
	return true, err
}

func (e *fakeEngine) Replace(_ context.Context, i images.IndexEntry) error {
	return e.call("replace image", i.Name, func() error { return nil })
}

func (e *fakeEngine) Have(_ context.Context, ref string) error {
	if ref == e.gone {
		return errdefs.ErrNotFound
	}
	return nil
}

func (e *fakeEngine) Image(ctx context.Context, ref string) (dockerapi.Image, error) {
	if err := e.Have(ctx, ref); err != nil {
		return dockerapi.Image{}, err
	}
	if e.labels[ref] == nil {
		return dockerapi.Image{}, errdefs.ErrNotFound
	}
	return dockerapi.Image{ID: ref, Labels: e.labels[ref]}, nil
}

func (e *fakeEngine) Images(_ context.Context, label string) ([]dockerapi.Image, error) {
	key, value, _ := strings.Cut(label, "=")
	var list []dockerapi.Image
	for _, id := range slices.Sorted(maps.Keys(e.labels)) {
		if e.labels[id][key] == value {
			list = append(list, dockerapi.Image{ID: id, Labels: e.labels[id]})
		}
	}
	return list, nil
}

// What only services of the configuration need; registryEngine has it.

func (e *fakeEngine) SetRestart(context.Context, string, dockerapi.RestartPolicy) error {
	return errors.ErrUnsupported
}
func (e *fakeEngine) EnsureNetwork(context.Context, string, map[string]string) error {
	return errors.ErrUnsupported
}
func (e *fakeEngine) PullImage(context.Context, string, dockerapi.Login) error {
	return errors.ErrUnsupported
}

func manifest(name string) string { return "sha256:" + name }

// fakeCondition holds once its service's name is set in it.
type fakeConditions struct {
	mu    sync.Mutex
	holds map[string]bool
}

func (f *fakeConditions) set(path string, holds bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.holds[path] = holds
}

type fakeCondition struct {
	all  *fakeConditions
	path string
}

func (c fakeCondition) String() string { return "file " + c.path }

func (c fakeCondition) Check(context.Context) error {
	c.all.mu.Lock()
	defer c.all.mu.Unlock()
	if !c.all.holds[c.path] {
		return errors.New("no such file")
	}
	return nil
}

// machineOf is a machine with these OS services.
func machineOf(decls ...images.Declaration) plan.Inputs {
	in := plan.Inputs{Declarations: decls, BootID: "boot"}
	for _, d := range decls {
		in.Index.Images = append(in.Index.Images, images.IndexEntry{Name: d.Name, Ref: d.Name, Manifest: manifest(d.Name)})
	}
	return in
}

// fakeHost is a host that a test looks at.
type fakeHost struct {
	t          *testing.T
	engine     *fakeEngine
	conditions *fakeConditions
	handle     func(context.Context, control.Request, func(string)) error
	// selection and complete are the configuration, and fetching gets a file of it.
	selection osconfig.Selection
	complete  bool
	fetching  func() error

	mu      sync.Mutex
	status  control.Status
	done    []string // the services that have settled: "name" or "name: error"
	isUp    bool
	booting chan int
}

func (h *fakeHost) serve(_ context.Context, handle func(context.Context, control.Request, func(string)) error) {
	h.handle = handle
}

func (h *fakeHost) publish(s control.Status) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.status = s
}

func (h *fakeHost) settled(w plan.Want, _ float64, err error) {
	line := w.Name
	if err != nil {
		line += ": " + err.Error()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.done = append(h.done, line)
}

func (h *fakeHost) recovered(w plan.Want) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.done = append(h.done, w.Name+" after all")
}

func (h *fakeHost) booted(images int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.isUp = true
	if h.booting != nil {
		h.booting <- images
	}
}

func (h *fakeHost) condition(r images.Ready) wait.Condition {
	return fakeCondition{h.conditions, r.File + r.Docker}
}

func (h *fakeHost) entries() (plan.Inputs, bool) {
	return plan.Inputs{Selection: h.selection, ReadFile: os.ReadFile}, h.complete
}

func (h *fakeHost) preload(context.Context, bool) {}

func (h *fakeHost) fetch(context.Context, string) error { return h.fetching() }

func (h *fakeHost) bootConsole() (string, bool) {
	name := h.engine.console
	h.engine.console = ""
	return name, name != ""
}

func (h *fakeHost) consoleProblem(err error) { h.engine.told = append(h.engine.told, err.Error()) }

func (h *fakeHost) keepConsole(_ context.Context, name string) error {
	h.engine.kept = append(h.engine.kept, name)
	return nil
}

func (h *fakeHost) drain() (func(), error) {
	return func() { _ = h.engine.call("end", "drain", works) }, h.engine.call("begin", "drain", works)
}

func (h *fakeHost) wipe(service string) error { return h.engine.call("wipe", service, works) }

// bugs is a log that fails the test when it says BUG.
type bugs struct{ t *testing.T }

func (b bugs) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte("BUG")) {
		b.t.Errorf("log: %s", line)
	}
	return len(line), nil
}

func newLog(t *testing.T) *slog.Logger { return slog.New(slog.NewTextHandler(bugs{t}, nil)) }
