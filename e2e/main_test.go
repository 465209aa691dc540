// Package e2e proves the system from outside: it boots the built artefacts in
// virtual machines and looks at them as a user does, over ssh, the Docker API
// and the console. It imports no package of the product.
//
//	./scripts/test vm                          all of it
//	go test -short ./e2e -run TestTwoTiers -v  one, as a change has to pass it
//
// docs/testing.md tells about the environment variables and how to look into
// a failure.
package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/bulkhead-os/bulkhead/e2e/qemutest"
)

func TestMain(m *testing.M) {
	fmt.Printf("artefacts %s, acceleration %s, deadlines × %.1f\n",
		artifacts(), qemutest.Accel(), qemutest.Scaled(time.Second).Seconds())
	code := m.Run()
	if code == 0 && shared.dir != "" {
		_ = os.RemoveAll(shared.dir)
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

// times returns how often, or with what, to repeat something: with -short, which
// is what a change has to pass, or for a release.
func times[T any](short, release T) T {
	if testing.Short() {
		return short
	}
	return release
}

// forRelease skips a test with -short, and says why a change need not pass it.
// ./scripts/test accepts no other reason to skip one.
func forRelease(t *testing.T, why string) {
	t.Helper()
	if testing.Short() {
		t.Skip("for a release: " + why)
	}
}

// A template is a machine that was booted once and whose state is kept: a test
// that needs no boot of its own starts from it, in a second, on a machine that no
// other test has touched.
type template struct {
	boot    sync.Once
	err     error
	dir     string
	options qemutest.Options
	key     qemutest.Key
}

// shared belongs to the test binary as the machines do; TestMain removes it.
var shared template

// sharedGuest starts a machine from the state of the one that all such tests
// share. The test runs beside others from here on.
func sharedGuest(t *testing.T) *guest {
	t.Helper()
	t.Parallel()
	qemutest.Need(t, qemutest.Binary, "xorriso")
	iso := artifact(t, isoName)
	shared.boot.Do(func() { shared.err = shared.make(iso) })
	if shared.err != nil {
		t.Fatalf("the machine that tests share: %v", shared.err)
	}
	g := &guest{VM: qemutest.StartT(t, shared.options, expected...), key: shared.key}
	if err := g.login(); err != nil {
		t.Fatal(err)
	}
	return g
}

// make boots the machine, waits until all of it is well, and saves it.
func (s *template) make(iso string) error {
	var err error
	if s.dir, err = os.MkdirTemp("", "shared-vm-*"); err != nil {
		return err
	}
	seed, err := newSeed(s.dir)
	if err != nil {
		return err
	}
	s.key = seed.key
	s.options = seed.in(qemutest.Options{Name: "shared", ISO: iso, MemoryMB: 3072})
	vm, err := qemutest.Start(context.Background(), s.dir, s.options, expected...)
	if err != nil {
		return err
	}
	defer vm.Kill()
	g := &guest{VM: vm, key: s.key}
	if err := g.awaitReady(0); err != nil {
		return err
	}
	if err := g.repeat("every service healthy", bootDeadline, g.healthy(nil)); err != nil {
		return err
	}
	if err := g.bringImage("docker", image); err != nil {
		return err
	}
	// A machine that starts from this state would keep the session for ever.
	if err := g.client.Close(); err != nil {
		return err
	}
	state := filepath.Join(s.dir, "state")
	if err := vm.Save(state); err != nil {
		return err
	}
	s.options.State = state
	return vm.Trouble()
}
