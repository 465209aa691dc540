package orchestrator

import (
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/bulkhead-os/bulkhead/sysdocker/control"
	"github.com/bulkhead-os/bulkhead/sysdocker/plan"
)

func TestFurtherEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEngine()
		file := filepath.Join(t.TempDir(), "services.json")
		// A further engine is made like the first one.
		b := startWith(t, e, file, watched("docker"), watched("ntp"))
		b.ready("docker", "ntp")
		e.took()
		b.expectError(b.ask(control.CreateEngine, "docker-ci", ""))
		b.expect("load docker-ci", "create docker-ci", "start docker-ci")
		b.expectError(b.ask(control.CreateEngine, "docker-ci", ""), "one of this name already")
		b.expectError(b.ask(control.CreateEngine, "docker-old", otherImage))
		b.expect("create docker-old", "start docker-old")
		if got := b.records.Engines(); got["docker-ci"] != 1 || got["docker-old"] != 2 {
			t.Errorf("engines %v", got)
		}

		// It is kept up, and controlled, as any service.
		e.die("docker-ci")
		b.pass(firstPause)
		b.expect("start docker-ci")
		b.expectError(b.ask(control.Upgrade, "docker-ci", otherImage))
		e.took()

		b.expectError(b.ask(control.RemoveEngine, "ntp", ""), "part of the OS")
		b.expectError(b.ask(control.RemoveEngine, "docker-ci", ""))
		b.expect("stop docker-ci", "remove docker-ci", "wipe docker-ci")
		b.expectError(b.ask(control.RemoveEngine, "docker-ci", ""), "no OS service docker-ci")

		// One that never works leaves nothing.
		e.health = map[string]string{"sha256:bad": "starting"}
		b.expectError(b.ask(control.CreateEngine, "docker-bad", "sha256:bad"), "is not healthy")
		b.expect("create docker-bad", "start docker-bad", "stop docker-bad", "remove docker-bad", "wipe docker-bad")
		if got := b.records.Engines(); len(got) != 1 || got["docker-old"] != 2 {
			t.Errorf("engines %v", got)
		}
	})
}

func TestFreeNumber(t *testing.T) {
	if n, err := freeNumber(map[string]int{"a": 1, "b": 3}); n != 2 || err != nil {
		t.Errorf("freeNumber = %d, %v; want 2", n, err)
	}
	full := make(map[string]int)
	for n := range plan.MaxEngines {
		full[string(rune('a'+n))] = n + 1
	}
	if _, err := freeNumber(full); err == nil {
		t.Error("there is one more than there can be")
	}
}
