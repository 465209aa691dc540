package orchestrator

import (
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	"github.com/bulkhead-os/bulkhead/sysdocker/control"
	"github.com/bulkhead-os/bulkhead/sysdocker/plan"
)

// consoleBoot is an engine that has a console "full" in a boot with
// rancher.console: name.
func consoleBoot(name string) *fakeEngine {
	e := newFakeEngine()
	e.console = name
	e.labels = map[string]map[string]string{otherImage: {images.LabelConsole: "full", images.LabelKept: "true"}}
	return e
}

// consoleService is one that waits for another, as the shipped one does, and
// lives for one boot.
func consoleService() images.Declaration {
	d := watched(images.Console)
	d.Service.After, d.Service.Ephemeral = []string{"cloud-init"}, true
	return d
}

func TestConsoleOfTheConfiguration(t *testing.T) {
	tests := []struct {
		name, key string
		before    control.Record // of the boot before
		calls     []string       // once cloud-init is ready
		image     string         // that runs
		stopped   bool
		problem   string
	}{
		{name: "default", key: "default", calls: []string{"start console"}},
		{name: "another", key: "full", calls: []string{"remove console", "create console", "start console"}, image: otherImage},
		{name: "by its image", key: otherImage, calls: []string{"remove console", "create console", "start console"}, image: otherImage},
		{name: "the same as before", key: "full", before: control.Record{Image: otherImage}, calls: []string{"start console"}, image: otherImage},
		{name: "none", key: "none", stopped: true},
		{name: "none as before", key: "none", before: control.Record{Stopped: true}, stopped: true},
		{name: "again after none", key: "default", before: control.Record{Stopped: true}, calls: []string{"load console", "create console", "start console"}},
		{name: "default again", key: "default", before: control.Record{Image: otherImage}, calls: []string{"load console", "remove console", "create console", "start console"}},
		{name: "unknown", key: "nonesuch", calls: []string{"start console"}, problem: "no console nonesuch"},
		{name: "a later orchestrator", key: "", before: control.Record{Image: otherImage}, calls: []string{"start console"}, image: otherImage},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := consoleBoot(tt.key)
				file := filepath.Join(t.TempDir(), "services.json")
				store, err := control.Open(file)
				if err != nil {
					t.Fatal(err)
				}
				if err := store.Change(images.Console, func(r *control.Record) { *r = tt.before }); err != nil {
					t.Fatal(err)
				}
				b := startWith(t, e, file, service("cloud-init"), consoleService())
				b.pass(time.Second)
				e.took()
				b.ready("cloud-init")
				b.pass(2 * time.Second)
				b.expect(tt.calls...)
				if r := b.records.Get(images.Console); r.Image != tt.image || r.Stopped != tt.stopped {
					t.Errorf("record = %+v; want image %q, stopped %v", r, tt.image, tt.stopped)
				}
				c := e.containers[images.Console]
				if runs := c != nil && c.State == dockerapi.Running; runs == tt.stopped {
					t.Errorf("console runs: %v", runs)
				}
				if c != nil && !tt.stopped {
					if kept := c.Labels[plan.LabelBoot] == ""; kept != (tt.image != "") {
						t.Errorf("container is kept: %v", kept)
					}
				}
				if got := strings.Join(e.told, "\n"); !strings.Contains(got, tt.problem) || got != "" && tt.problem == "" {
					t.Errorf("problem = %q; want %q", got, tt.problem)
				}
			})
		})
	}
}

func TestConsoleRequestsAreForTheNextBootToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := consoleBoot("default")
		b := startOn(t, e, service("cloud-init"), consoleService(), watched("ntp"))
		b.ready("cloud-init", "console", "ntp")
		b.pass(2 * time.Second)
		b.expectError(b.ask(control.Upgrade, images.Console, otherImage))
		b.expectError(b.ask(control.Stop, images.Console, ""))
		b.expectError(b.ask(control.Start, images.Console, ""))
		b.expectError(b.ask(control.Rollback, images.Console, ""))
		b.expectError(b.ask(control.Upgrade, "ntp", otherImage))
		if diff := cmp.Diff([]string{"full", "none", "full", "default"}, e.kept); diff != "" {
			t.Error(diff)
		}
	})
}
