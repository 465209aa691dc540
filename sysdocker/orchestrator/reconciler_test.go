package orchestrator

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	"github.com/bulkhead-os/bulkhead/sysdocker/control"
	"github.com/bulkhead-os/bulkhead/sysdocker/plan"
)

// bench is a reconciler on a fake engine, in a synctest bubble.
type bench struct {
	*testing.T
	*fakeHost
	engine   *fakeEngine
	stop     func() // ends the reconciler and waits for it
	settings chan plan.Inputs
	records  *control.Store
}

// service declares a service that is ready once the file named after it exists.
func service(name string, after ...string) images.Declaration {
	return images.Declaration{Name: name, Service: images.Service{
		Command: []string{"/" + name}, After: after, Ready: &images.Ready{File: "/" + name},
	}}
}

func works() error { return nil }

func start(t *testing.T, decls ...images.Declaration) *bench {
	return startOn(t, newFakeEngine(), decls...)
}

func startOn(t *testing.T, e *fakeEngine, decls ...images.Declaration) *bench {
	return startWith(t, e, filepath.Join(t.TempDir(), "services.json"), decls...)
}

// startWith starts a reconciler with the records of one before.
func startWith(t *testing.T, e *fakeEngine, file string, decls ...images.Declaration) *bench {
	records, err := control.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{
		T: t, engine: e, settings: make(chan plan.Inputs), records: records,
		fakeHost: &fakeHost{t: t, engine: e, conditions: &fakeConditions{holds: map[string]bool{}}},
	}
	// No service of the configuration: user Docker is away.
	away := &registryEngine{fakeEngine: newFakeEngine()}
	s := newReconciler(e, away, b.fakeHost, records, machineOf(decls...), newLog(t))
	s.settings = b.settings
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.run(ctx) }()
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(b.stop)
	return b
}

// pass lets time pass.
func (b *bench) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// expect compares the calls since the last time.
func (b *bench) expect(want ...string) {
	b.Helper()
	if diff := cmp.Diff(want, b.engine.took()); diff != "" {
		b.Errorf("calls differ:\n%s", diff)
	}
}

func (b *bench) expectInAnyOrder(want ...string) {
	b.Helper()
	got := b.engine.took()
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		b.Errorf("calls differ:\n%s", diff)
	}
}

func (b *bench) expectSettled(want ...string) {
	b.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if diff := cmp.Diff(want, b.done); diff != "" {
		b.Errorf("settled services differ:\n%s", diff)
	}
}

func (b *bench) ready(names ...string) {
	for _, n := range names {
		b.conditions.set("/"+n, true)
	}
	b.pass(time.Second)
}

func TestDependenciesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, service("ntp", "network"), service("network", "udev"), service("udev"))
		b.pass(time.Second)
		// Everything is prepared at once, but only udev is started.
		calls := b.engine.took()
		if last := calls[len(calls)-1]; len(calls) != 7 || !strings.Contains(strings.Join(calls, ","), "start udev") {
			t.Errorf("calls = %q, the last is %q; want three loads, three creates and the start of udev", calls, last)
		}
		b.ready("udev")
		b.expect("start network")
		if b.isUp {
			t.Error("booted before everything is ready")
		}
		b.ready("network")
		b.expect("start ntp")
		b.ready("ntp")
		b.expectSettled("udev", "network", "ntp")
		if !b.isUp {
			t.Error("not booted although everything is ready")
		}

		b.stop()
		b.expect("stop ntp", "stop network", "stop udev")
	})
}

func TestLateServiceIsToldAndNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := service("udev")
		slow.Service.Ready.Timeout = images.Duration(20 * time.Second)
		b := start(t, slow, service("network", "udev"))
		b.ready("network")
		b.engine.took()
		b.pass(20 * time.Second)
		b.expect("start network")
		b.pass(time.Second)
		b.expectSettled("udev: not ready after 20s: waiting for file /udev: no such file", "network")
		if !b.isUp {
			t.Error("not booted")
		}
		// It is not touched, and taken back once it is ready.
		b.ready("udev")
		b.expect()
		b.expectSettled("udev: not ready after 20s: waiting for file /udev: no such file", "network", "udev after all")
	})
}

func TestNobodyWaitsForWhatCannotBecomeReady(t *testing.T) {
	failure := filepath.Join(t.TempDir(), "failure")
	if err := os.WriteFile(failure, []byte("daemon.json: no such key\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		broken := service("docker")
		broken.Service.Ready.Failure = failure
		b := start(t, broken)
		b.pass(time.Second)
		b.expectSettled("docker: daemon.json: no such key")
		if !b.isUp {
			t.Error("not booted")
		}
		b.ready("docker")
		b.expectSettled("docker: daemon.json: no such key", "docker after all")
	})
}

func TestRestartWithGrowingPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, service("ntp"))
		b.ready("ntp")
		b.expect("load ntp", "create ntp", "start ntp")

		for _, pause := range []time.Duration{500 * time.Millisecond, time.Second} {
			b.engine.die("ntp")
			b.pass(pause - time.Millisecond)
			b.expect()
			b.pass(time.Millisecond)
			b.expect("start ntp")
		}
		// The third time in a row, its own files may be the cause.
		b.engine.die("ntp")
		b.pass(2 * time.Second)
		b.expect("load ntp", "remove ntp", "create ntp", "start ntp")
		// After a minute without trouble all is forgotten.
		b.pass(calmAfter + time.Second)
		b.engine.die("ntp")
		b.pass(500 * time.Millisecond)
		b.expect("start ntp")
	})
}

func TestRemovedContainerComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, service("ntp"))
		b.ready("ntp")
		b.engine.took()
		b.engine.mu.Lock()
		delete(b.engine.containers, "ntp")
		b.engine.mu.Unlock()
		b.engine.events <- "ntp"
		b.pass(time.Second)
		b.expect("load ntp", "create ntp", "start ntp")
	})
}

func TestStartFailureGoesDeeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEngine()
		e.breakStart = func(string) error { return errors.New("snapshot does not exist") }
		b := startOn(t, e, service("ntp"))
		b.pass(100 * time.Millisecond)
		b.expect("load ntp", "create ntp", "start ntp")
		b.pass(500 * time.Millisecond)
		b.expect("load ntp", "remove ntp", "create ntp", "start ntp")
		b.pass(time.Second)
		b.expect("remove ntp", "replace image ntp", "create ntp", "start ntp")
		b.pass(2 * time.Second)
		b.expect("load ntp", "remove ntp", "create ntp", "start ntp")
		b.pass(readyLimit)
		b.expectSettled("ntp: not ready after 1m0s: does not start: snapshot does not exist")
		b.engine.mu.Lock()
		e.breakStart = nil
		b.engine.mu.Unlock()
		b.pass(lastPause)
		if e.containers["ntp"].State != dockerapi.Running {
			t.Error("the service does not come up once it could")
		}
	})
}

func TestUnhealthy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		report := service("cloud-init")
		report.Service.Unhealthy = "report"
		b := start(t, service("ntp"), report)
		b.ready("ntp", "cloud-init")
		b.engine.took()
		for range 2 {
			b.engine.sicken("ntp")
			b.pass(3 * time.Second)
			b.expect("stop ntp", "start ntp")
		}
		b.engine.sicken("ntp")
		b.pass(3 * time.Second)
		b.expect("load ntp", "stop ntp", "remove ntp", "create ntp", "start ntp")

		b.engine.sicken("cloud-init")
		b.pass(time.Minute)
		b.expect()
	})
}

func TestOnce(t *testing.T) {
	for _, tt := range []struct {
		name string
		code int64
		want string
	}{
		{"good", 0, "setup"},
		{"bad", 3, "setup: ended with exit code 3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				setup := images.Declaration{Name: "setup", Service: images.Service{Command: []string{"/setup"}, Restart: "no"}}
				e := newFakeEngine()
				e.exitCode = tt.code
				b := startOn(t, e, setup)
				b.pass(time.Minute)
				b.expect("load setup", "create setup", "start setup", "exit code of setup")
				b.expectSettled(tt.want)
			})
		})
	}
}

func TestSecondBootOnlyStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		decls := []images.Declaration{service("udev"), service("network", "udev")}
		first := start(t, decls...)
		first.ready("udev", "network")
		first.stop()
		first.engine.took()
		first.engine.containers["dhcp"] = &dockerapi.Container{
			ID: "dhcp", Name: "dhcp", Labels: map[string]string{plan.LabelService: "dhcp"},
		}

		b := startOn(t, first.engine, decls...)
		b.pass(0)
		b.expectInAnyOrder("remove dhcp", "start udev") // They run at once.
		b.ready("udev", "network")
		b.expect("start network")
	})
}

func TestOrchestratorStartedAgainTouchesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEngine()
		b := startOn(t, e, service("udev"))
		b.ready("udev")
		b.stop()
		e.containers["udev"].State = dockerapi.Running // as if it had not been stopped
		e.took()
		b = startOn(t, e, service("udev"))
		b.ready("udev")
		b.expect()
		b.expectSettled("udev")
	})
}

func TestBrokenEventStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, service("ntp"))
		b.ready("ntp")
		b.engine.took()
		b.engine.breakWith <- errors.New("unexpected EOF")
		// This happens while nobody listens.
		b.engine.mu.Lock()
		b.engine.containers["ntp"].State = dockerapi.Exited
		b.engine.mu.Unlock()
		b.pass(2 * time.Second)
		b.expect("start ntp")
	})
}

func TestUrgentFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEngine()
		e.slow = time.Second
		docker := service("docker")
		docker.Service.Ready = &images.Ready{Docker: "/docker"}
		b := startOn(t, e, service("acpid"), service("acpid2"), docker, service("network", "udev"), service("udev"))
		b.pass(0)
		calls := b.engine.took()
		for _, want := range []string{"load docker", "load udev"} {
			if !slices.Contains(calls, want) {
				t.Errorf("%s is not among the first calls: %q", want, calls)
			}
		}
	})
}

func TestAServiceThatWaitsHasNoSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, service("udev"), service("acpid"), service("network", "udev"), service("ntp", "udev"))
		b.ready("acpid")
		b.engine.took()
		b.engine.die("acpid")
		b.pass(time.Second)
		b.expect("start acpid")
	})
}

func TestEngineHasTheLeadWhileItStarts(t *testing.T) {
	waiting := filepath.Join(t.TempDir(), "waiting")
	for _, tt := range []struct {
		until string
		end   func(b *bench)
	}{
		{"it is ready", func(b *bench) { b.ready("docker") }},
		{"it waits for other services", func(*bench) { _ = os.WriteFile(waiting, nil, 0o644) }},
		{"it ends", func(b *bench) { b.engine.die("docker") }},
		{"that takes too long", func(b *bench) { b.pass(headStart) }},
	} {
		_ = os.Remove(waiting)
		synctest.Test(t, func(t *testing.T) {
			e := newFakeEngine()
			e.slow, e.slowStart = time.Second, time.Second
			docker := service("docker")
			docker.Service.Ready = &images.Ready{Docker: "/docker", Waiting: waiting}
			b := startOn(t, e, docker, service("cloud-init"), service("syslog"), service("udev", "cloud-init"))
			b.pass(5 * time.Second)
			b.expectInAnyOrder("load cloud-init", "load docker", "create cloud-init", "create docker", "start cloud-init", "start docker")
			tt.end(b)
			b.pass(5 * time.Second)
			calls := b.engine.took()
			if !slices.Contains(calls, "start syslog") {
				t.Errorf("calls after the lead, until %s = %q; want the start of syslog among them", tt.until, calls)
			}
			// The lead is for the boot.
			b.ready("docker")
			b.pass(10 * time.Second)
			b.engine.took()
			b.engine.die("docker")
			b.engine.die("syslog")
			b.engine.die("cloud-init")
			b.pass(5 * time.Second)
			b.expectInAnyOrder("start cloud-init", "start docker", "start syslog")
		})
	}
}

func TestEngineStopsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		docker := service("docker")
		docker.Service.Ready = &images.Ready{Docker: "/docker"}
		b := start(t, docker, service("network", "udev"), service("udev"))
		b.ready("docker", "udev", "network")
		b.engine.took()
		b.stop()
		b.expect("stop docker", "stop network", "stop udev")
	})
}
