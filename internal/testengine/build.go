package testengine

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// A program is one binary of the engine, built from the modules in go.mod
// with the flags of the product (iso/gobuild), so that the build caches are
// shared.
type program struct {
	name, pkg, tags string
	cgo             bool
}

var programs = []program{
	{name: "dockerd", pkg: "github.com/moby/moby/v2/cmd/dockerd"},
	{name: "containerd", pkg: "github.com/containerd/containerd/v2/cmd/containerd", tags: containerdTags},
	{name: "containerd-shim-runc-v2", pkg: "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2", tags: containerdTags},
	{name: "runc", pkg: "github.com/opencontainers/runc", tags: "seccomp", cgo: true},
}

const containerdTags = "no_btrfs no_zfs no_cri no_aufs no_devmapper"

// binaries builds the engine once per process and returns its directory. The
// go command does nothing for a binary that is up to date.
var binaries = sync.OnceValues(func() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "bulkhead-testengine")
	for _, p := range programs {
		if err := p.build(dir); err != nil {
			return "", err
		}
	}
	return dir, nil
})

func (p program) build(dir string) error {
	ldflags := "-s -w -buildid="
	cgo := "0"
	if p.cgo {
		ldflags += " -extldflags -static"
		cgo = "1"
	}
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", ldflags, "-tags", p.tags,
		"-o", filepath.Join(dir, p.name), p.pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED="+cgo, "GOFLAGS=-mod=readonly")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return nil
}

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
