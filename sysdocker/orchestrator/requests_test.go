package orchestrator

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	"github.com/bulkhead-os/bulkhead/sysdocker/control"
)

const otherImage = "sha256:0123456789abcdef"

// watched is a service with a health check.
func watched(name string) images.Declaration {
	d := service(name)
	d.Service.Healthcheck = &images.Healthcheck{Test: []string{"CMD", "/check"}}
	return d
}

// ask sends a request and returns its error's text.
func (b *bench) ask(verb control.Verb, name, image string) string {
	b.Helper()
	err := b.handle(b.Context(), control.Request{Verb: verb, Service: name, Image: image}, func(string) {})
	synctest.Wait()
	if err != nil {
		return err.Error()
	}
	return ""
}

func (b *bench) expectError(got string, want ...string) {
	b.Helper()
	for _, w := range want {
		if !strings.Contains(got, w) {
			b.Errorf("error %q does not say %q", got, w)
		}
	}
	if len(want) == 0 && got != "" {
		b.Errorf("error: %s", got)
	}
}

// newContainer are the calls that replace a running container.
var newContainer = []string{"stop ntp", "remove ntp", "create ntp", "start ntp"}

func TestUpgradeIsKeptAndRolledBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEngine()
		file := filepath.Join(t.TempDir(), "services.json")
		b := startWith(t, e, file, watched("ntp"))
		b.ready("ntp")
		e.took()
		b.expectError(b.ask(control.Rollback, "ntp", ""), "no other image")
		b.expectError(b.ask(control.Upgrade, "ntp", otherImage))
		b.expect(newContainer...)
		b.expectError(b.ask(control.Upgrade, "ntp", otherImage), "already")
		b.expect()

		// It is still what is wanted after another start.
		b.stop()
		e.took()
		b = startWith(t, e, file, watched("ntp"))
		b.ready("ntp")
		b.expect("start ntp")

		b.expectError(b.ask(control.Rollback, "ntp", ""))
		b.expect(append([]string{"load ntp"}, newContainer...)...)
		r := b.records.Get("ntp")
		if r.Image != "" || *r.Previous != otherImage || len(r.Events) != 2 {
			t.Errorf("record after the rollback: %+v", r)
		}
	})
}

func TestDrainLastsUntilTheUpgradeIsOver(t *testing.T) {
	drained := func(calls ...string) []string {
		return slices.Concat([]string{"begin drain"}, calls, []string{"end drain"})
	}
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEngine()
		b := startOn(t, e, watched("ntp"))
		b.ready("ntp")
		e.took()
		ask := func(image string) error {
			return b.handle(b.Context(), control.Request{Verb: control.Upgrade, Service: "ntp", Image: image, Drain: true}, func(string) {})
		}
		if err := ask(otherImage); err != nil {
			t.Error(err)
		}
		b.expect(drained(newContainer...)...)
		// The engine from before is not to take over either.
		e.health = map[string]string{"sha256:bad": "starting"}
		if err := ask("sha256:bad"); err == nil {
			t.Error("an image that is never healthy is kept")
		}
		b.expect(drained(append(newContainer, "kill ntp", "remove ntp", "create ntp", "start ntp")...)...)
	})
}

func TestEnabledImageRunsFromTheNextBootOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEngine()
		file := filepath.Join(t.TempDir(), "services.json")
		b := startWith(t, e, file, watched("ntp"))
		b.ready("ntp")
		e.took()
		b.expectError(b.ask(control.Enable, "ntp", otherImage))
		b.expect()
		b.stop()
		e.took()
		b = startWith(t, e, file, watched("ntp"))
		b.ready("ntp")
		b.expect("remove ntp", "create ntp", "start ntp")

		// What has not been begun can be taken back.
		b.expectError(b.ask(control.Enable, "ntp", ""))
		b.expectError(b.ask(control.Upgrade, "ntp", otherImage))
		if got := b.records.Get("ntp").Image; got != otherImage {
			t.Errorf("image after the next boot: %q; want %q", got, otherImage)
		}
	})
}

func TestUpgradeThatFailsGoesBack(t *testing.T) {
	back := slices.Concat(newContainer, []string{"load ntp", "remove ntp", "create ntp", "start ntp"})
	tests := []struct {
		name   string
		broken func(*fakeEngine)
		during func(*bench)
		want   []string
		says   string
		limit  time.Duration
	}{
		{
			name:   "never healthy",
			broken: func(e *fakeEngine) { e.health = map[string]string{otherImage: "starting"} },
			want:   slices.Concat(newContainer, []string{"kill ntp", "load ntp", "remove ntp", "create ntp", "start ntp"}),
			says:   "is not healthy: starting", limit: trialLimit + 2*time.Second,
		},
		{
			name: "does not start",
			broken: func(e *fakeEngine) {
				first := true
				e.breakStart = func(string) error {
					if first {
						first = false
						return dockerapiError("exec format error")
					}
					return nil
				}
			},
			want: back,
			says: "exec format error", limit: 3 * time.Second,
		},
		{
			name:   "ends",
			broken: func(e *fakeEngine) { e.health = map[string]string{otherImage: "starting"} },
			during: func(b *bench) { b.engine.die("ntp") },
			want:   back,
			says:   "Exited (137)", limit: 8 * time.Second,
		},
		{
			name:   "unhealthy",
			broken: func(e *fakeEngine) { e.health = map[string]string{otherImage: "starting"} },
			during: func(b *bench) { b.engine.sicken("ntp") },
			says:   "health check fails", limit: 8 * time.Second,
		},
		{
			name:   "not there",
			broken: func(e *fakeEngine) { e.gone = otherImage },
			want:   []string{}, // it runs on
			says:   "gone", limit: 3 * time.Second,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newFakeEngine()
				b := startOn(t, e, watched("ntp"), watched("syslog"))
				b.ready("ntp", "syslog")
				e.took()
				tt.broken(e)
				if tt.during != nil {
					go func() {
						b.pass(5 * time.Second)
						tt.during(b)
					}()
				}
				began := time.Now()
				b.expectError(b.ask(control.Upgrade, "ntp", otherImage), tt.says, "the shipped image runs again")
				if took := time.Since(began); took > tt.limit {
					t.Errorf("back after %s; want at most %s", took, tt.limit)
				}
				calls := e.took()
				if diff := cmp.Diff(tt.want, calls, cmpopts.EquateEmpty()); tt.want != nil && diff != "" {
					t.Errorf("calls differ:\n%s", diff)
				}
				for _, c := range calls {
					if strings.Contains(c, "syslog") {
						t.Errorf("another service was touched: %s", c)
					}
				}
				r := b.records.Get("ntp")
				if r.Image != "" || r.Previous != nil || len(r.Events) != 1 || r.Events[0].Error == "" {
					t.Errorf("record: %+v", r)
				}
				if c := e.containers["ntp"]; c.State != dockerapi.Running || c.Health != dockerapi.Healthy {
					t.Errorf("container: %+v", c)
				}
			})
		})
	}
}

// A container that nobody checks has to go on running.
func TestUpgradeWithoutAHealthCheck(t *testing.T) {
	for _, tt := range []struct {
		diesAfter time.Duration
		says      []string
	}{
		{steadyTime - time.Second, []string{"Exited (137)", "the shipped image runs again"}},
		{steadyTime + 2*time.Second, nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			e := newFakeEngine()
			b := startOn(t, e, service("ntp"))
			b.ready("ntp")
			go func() {
				b.pass(tt.diesAfter)
				e.die("ntp")
			}()
			b.expectError(b.ask(control.Upgrade, "ntp", otherImage), tt.says...)
			b.pass(tt.diesAfter)
		})
	}
}

// Whoever mends a service that crashes does so while it crashes.
func TestUpgradeOfWhatHasJustEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEngine()
		b := startOn(t, e, watched("ntp"))
		b.ready("ntp")
		e.containers["ntp"].State = dockerapi.Exited // and the event is still on its way
		b.expectError(b.ask(control.Upgrade, "ntp", otherImage))
	})
}

// Unpacking an image and starting its container is not the image's to do soon.
func TestTrialBeginsWhenTheContainerHasStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEngine()
		b := startOn(t, e, watched("ntp"))
		b.ready("ntp")
		e.slowStart = trialLimit + 10*time.Second
		b.expectError(b.ask(control.Upgrade, "ntp", otherImage))
	})
}

// A service that only reports can be unhealthy because of the machine.
func TestUpgradeOfWhatIsUnhealthyAnyway(t *testing.T) {
	for _, before := range []string{dockerapi.Healthy, "starting"} {
		synctest.Test(t, func(t *testing.T) {
			e := newFakeEngine()
			network := watched("network")
			network.Service.Unhealthy = "report"
			b := startOn(t, e, network)
			b.ready("network")
			e.mu.Lock()
			e.containers["network"].Health = before
			e.health = map[string]string{otherImage: "starting"}
			e.mu.Unlock()
			err := b.ask(control.Upgrade, "network", otherImage)
			if kept := b.records.Get("network").Image == otherImage; kept != (before == "starting") || (err == "") != kept {
				t.Errorf("with health %s before: kept %v, error %s", before, kept, err)
			}
		})
	}
}

type dockerapiError string

func (e dockerapiError) Error() string { return string(e) }

func TestImageThatIsGoneAtBoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEngine()
		e.gone = otherImage
		file := filepath.Join(t.TempDir(), "services.json")
		records, _ := control.Open(file)
		if err := records.Change("ntp", func(r *control.Record) { r.Image = otherImage }); err != nil {
			t.Fatal(err)
		}
		b := startWith(t, e, file, watched("ntp"))
		b.ready("ntp")
		b.expect("load ntp", "create ntp", "start ntp")
		if r := b.records.Get("ntp"); r.Image != "" || len(r.Events) != 1 {
			t.Errorf("record: %+v", r)
		}
	})
}

func TestStopSticks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEngine()
		file := filepath.Join(t.TempDir(), "services.json")
		decls := []images.Declaration{watched("ntp"), service("late", "ntp")}
		b := startWith(t, e, file, decls...)
		b.ready("ntp", "late")
		e.took()
		b.expectError(b.ask(control.Stop, "ntp", ""))
		b.pass(time.Hour)
		b.expect("stop ntp")
		b.stop()
		e.took()

		// Nobody waits for it at the next boot.
		b = startWith(t, e, file, decls...)
		b.ready("late")
		b.expect("start late")
		if !b.isUp {
			t.Error("the boot waits for a service that is not to run")
		}
		b.expectError(b.ask(control.Start, "ntp", ""))
		b.expect("start ntp")
		b.expectError(b.ask(control.Stop, "nobody", ""), "no OS service nobody", "late, ntp")
	})
}

// A pause after failures is nothing that a request has to wait for.
func TestStopDuringAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEngine()
		e.breakStart = func(string) error { return dockerapiError("exec format error") }
		b := startOn(t, e, watched("ntp"))
		b.pass(2 * time.Minute)
		e.took()
		began := time.Now()
		b.expectError(b.ask(control.Stop, "ntp", ""))
		if took := time.Since(began); took > time.Second {
			t.Errorf("the stop took %s", took)
		}
		b.pass(time.Hour)
		b.expect()
	})
}

// What runs is not started again because of an image that was never there.
func TestUpgradeToNothingTouchesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEngine()
		b := startOn(t, e, watched("ntp"))
		b.ready("ntp")
		e.took()
		e.gone = otherImage
		b.expectError(b.ask(control.Upgrade, "ntp", otherImage), "gone")
		b.pass(time.Minute)
		b.expect()
	})
}
