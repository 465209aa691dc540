package testengine

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/bulkhead-os/bulkhead/iso/gobuild"
)

// Build returns a directory with the engine's binaries, as they are shipped.
func Build(t *testing.T) string {
	t.Helper()
	dir, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// binaries builds the engine once per process. The go command does nothing for
// a binary that is up to date.
var binaries = sync.OnceValues(func() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	ctx := context.Background()
	gomod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", err
	}
	root := filepath.Dir(string(gomod))
	modules, err := gobuild.Modules(ctx, root)
	if err != nil {
		return "", err
	}
	programs, err := gobuild.Programs(modules, "test", 0)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "bulkhead-testengine")
	for _, p := range programs {
		if !slices.Contains([]string{"engine", "containerd-shim-runc-v2", "runc"}, p.Name) {
			continue
		}
		if err := gobuild.Build(ctx, root, dir, p); err != nil {
			return "", err
		}
	}
	for _, name := range []string{"dockerd", "containerd"} {
		link := filepath.Join(dir, name)
		if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		if err := os.Symlink("engine", link); err != nil {
			return "", err
		}
	}
	return dir, nil
})

// Require skips the test where no engine can run, saying why; with
// BULKHEAD_TEST=required, as in CI, it fails instead.
func Require(t *testing.T) {
	t.Helper()
	reason := ""
	switch {
	case testing.Short():
		reason = "-short is given"
	case os.Geteuid() != 0:
		reason = "containers need root"
	}
	switch {
	case reason == "":
	case os.Getenv("BULKHEAD_TEST") == "required" && !testing.Short():
		t.Fatal(reason)
	default:
		t.Skip(reason)
	}
}
