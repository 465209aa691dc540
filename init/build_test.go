package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// maxSize is the budget of the stripped binary in bytes, and goodSize what we
// aim for.
const (
	maxSize  = 4_000_000
	goodSize = 2_700_000
)

func goTool(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestBinaryIsSmall(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the binary")
	}
	file := filepath.Join(t.TempDir(), "init")
	goTool(t, "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", file, ".")
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("init has %d bytes", info.Size())
	if info.Size() > maxSize {
		t.Errorf("init has %d bytes; the budget is %d", info.Size(), maxSize)
	} else if info.Size() > goodSize {
		t.Logf("that is above the aim of %d: what came in?", goodSize)
	}
}

// TestDependencies lists what init is made of beside the standard library, so
// that each addition to PID 1 is seen in review, and keeps the large parts of
// the standard library out.
func TestDependencies(t *testing.T) {
	const module = "github.com/bulkhead-os/bulkhead/"
	want := []string{
		module + "init",
		module + "internal/blockdev",
		module + "internal/bootlog",
		module + "internal/bootstate",
		module + "internal/disklayout",
		module + "internal/fsverity",
		module + "internal/gpt",
		module + "internal/hostname",
		module + "internal/kmsg",
		module + "internal/layout",
		module + "internal/loop",
		module + "internal/meminfo",
		module + "internal/partition",
		module + "internal/power",
		module + "internal/uevent",
		module + "internal/version",
		module + "os-config/cmdline",
		"golang.org/x/sys/unix",
	}
	var got []string
	for pkg := range strings.FieldsSeq(goTool(t, "list", "-deps", ".")) {
		first, _, _ := strings.Cut(pkg, "/")
		switch {
		case strings.Contains(first, "."):
			got = append(got, pkg)
		case pkg == "net" || strings.HasPrefix(pkg, "net/") || strings.HasPrefix(pkg, "crypto/tls") || pkg == "regexp" || pkg == "text/template":
			t.Errorf("init depends on %s", pkg)
		}
	}
	if diff := cmp.Diff(want, slices.Sorted(slices.Values(got))); diff != "" {
		t.Errorf("dependencies (-allowed +got):\n%s", diff)
	}
}
