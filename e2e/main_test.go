// Package e2e proves the system from outside: it boots the built artefacts in
// virtual machines and looks at them as a user does, over ssh, the Docker API
// and the console. It imports no package of the product.
//
//	./scripts/test vm                          all of it
//	go test ./e2e -run TestTwoTiers -v         one
//
// docs/testing.md tells about the environment variables and how to look into
// a failure.
package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bulkhead-os/bulkhead/e2e/qemutest"
)

func TestMain(m *testing.M) {
	fmt.Printf("artefacts %s, acceleration %s, deadlines × %.1f\n",
		artifacts(), qemutest.Accel(), qemutest.Scaled(time.Second).Seconds())
	code := m.Run()
	if !shared.close() && code == 0 {
		code = 1
	}
	os.Exit(code)
}

// artifacts is the directory with the built files.
func artifacts() string {
	dir := os.Getenv("E2E_ARTIFACTS")
	if dir == "" {
		dir = "../dist/artifacts"
	}
	if abs, err := filepath.Abs(dir); err == nil {
		return abs
	}
	return dir
}

// artifact returns the path of a built file and skips the test without it.
func artifact(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(artifacts(), name)
	qemutest.NeedFile(t, path)
	return path
}

const isoName = "bulkhead-amd64.iso"

// full reports whether numbers are those of a release (E2E_FULL=1) rather than
// smaller ones that fit into a change's test run.
func full() bool { return os.Getenv("E2E_FULL") == "1" }

// times returns how often, or with what, to repeat something.
func times[T any](quick, complete T) T {
	if full() {
		return complete
	}
	return quick
}

// sharedMachine is one machine for all tests that leave it as they found it;
// booting takes longer than most of them. Their files' names come last in the
// alphabet, so that it does not run beside other machines.
type sharedMachine struct {
	once  sync.Once
	guest *guest
	dir   string
	err   error
}

// shared belongs to the test binary as the machine does; TestMain ends it.
var shared = &sharedMachine{}

// sharedGuest returns the machine that tests share.
func sharedGuest(t *testing.T) *guest {
	t.Helper()
	qemutest.Need(t, qemutest.Binary, "xorriso")
	iso := artifact(t, isoName)
	shared.once.Do(func() {
		if shared.guest, shared.err = shared.start(iso); shared.err != nil {
			t.Fatal(shared.err)
		}
	})
	if shared.err != nil {
		t.Fatal("the shared machine did not start; see the first test that wanted it")
	}
	if err := shared.guest.Trouble(); err != nil {
		t.Fatalf("the shared machine is broken: %v", err)
	}
	t.Cleanup(func() {
		if err := shared.guest.Trouble(); err != nil {
			t.Errorf("%v\n%s", err, strings.Join(shared.guest.Console.Tail(40), "\n"))
		}
	})
	return shared.guest
}

func (s *sharedMachine) start(iso string) (*guest, error) {
	var err error
	if s.dir, err = os.MkdirTemp("", "shared-vm-*"); err != nil {
		return nil, err
	}
	seed, err := newSeed(s.dir)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(times(60, 120))*time.Minute)
	context.AfterFunc(ctx, cancel)
	vm, err := qemutest.Start(ctx, s.dir, qemutest.Options{Name: "shared", ISO: iso, MemoryMB: 3072, Disks: []qemutest.Disk{seed.disk}}, expected...)
	if err != nil {
		return nil, err
	}
	g := &guest{VM: vm, key: seed.key}
	return g, g.awaitReady(0)
}

// close ends the machine and reports whether it was sound to the end. The
// console log stays where the test output goes if it was not.
func (s *sharedMachine) close() bool {
	if s.guest == nil {
		return s.err == nil
	}
	s.guest.Kill()
	sound := s.guest.Trouble() == nil
	if !sound {
		fmt.Printf("shared machine: %v; files %s\n", s.guest.Trouble(), s.dir)
		return false
	}
	return os.RemoveAll(s.dir) == nil
}
