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
	if !machines.close() && code == 0 {
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

// A pool lends machines to the tests that leave them as they found them;
// booting takes longer than most of these. It never has more machines than
// tests run side by side.
type pool struct {
	mu   sync.Mutex // guards what follows
	idle []*guest
}

// machines belongs to the test binary as its machines do; TestMain ends them.
var machines pool

// sharedGuest lends a machine to a test, which runs beside others from here on.
// A machine that a test failed with is lent to no other.
func sharedGuest(t *testing.T) *guest {
	t.Helper()
	t.Parallel()
	qemutest.Need(t, qemutest.Binary, "xorriso")
	g, err := machines.take(artifact(t, isoName))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Trouble(); err != nil {
			t.Errorf("%v\n%s", err, strings.Join(g.Console.Tail(40), "\n"))
		}
		if t.Failed() {
			g.Kill()
			qemutest.KeepLogs(t, g.Dir, "shared")
			return
		}
		machines.put(g)
	})
	return g
}

// take returns a machine that nobody uses, or a new one.
func (p *pool) take(iso string) (*guest, error) {
	p.mu.Lock()
	if last := len(p.idle) - 1; last >= 0 {
		defer p.mu.Unlock()
		g := p.idle[last]
		p.idle = p.idle[:last]
		return g, nil
	}
	p.mu.Unlock()
	return bootShared(iso)
}

func (p *pool) put(g *guest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, g)
}

// close ends the machines and reports whether each was sound to the end. The
// files of one that was not stay.
func (p *pool) close() bool {
	sound := true
	for _, g := range p.idle {
		g.Kill()
		if err := g.Trouble(); err != nil {
			fmt.Printf("shared machine: %v; files %s\n", err, g.Dir)
			sound = false
			continue
		}
		sound = os.RemoveAll(g.Dir) == nil && sound
	}
	return sound
}

// bootShared starts a machine for any number of tests.
func bootShared(iso string) (*guest, error) {
	dir, err := os.MkdirTemp("", "shared-vm-*")
	if err != nil {
		return nil, err
	}
	seed, err := newSeed(dir)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(times(60, 120))*time.Minute)
	context.AfterFunc(ctx, cancel)
	vm, err := qemutest.Start(ctx, dir, qemutest.Options{Name: "shared", ISO: iso, MemoryMB: 3072, Disks: []qemutest.Disk{seed.disk}}, expected...)
	if err != nil {
		return nil, err
	}
	g := &guest{VM: vm, key: seed.key}
	if err := g.awaitReady(0); err != nil {
		g.Kill()
		return nil, err
	}
	return g, nil
}
