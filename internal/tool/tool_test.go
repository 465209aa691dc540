package tool

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	if err := Run(t.Context(), "tea", "sh", "-c", `cat > "$1"`, "sh", file); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(file); string(got) != "tea" || err != nil {
		t.Errorf("input: %q, %v", got, err)
	}
	err := Run(t.Context(), "hush", "/bin/sh", "-c", "cat >/dev/null; echo one; echo two >&2; exit 3", "secret")
	if want := "sh: exit status 3: one; two"; err == nil || err.Error() != want {
		t.Errorf("error %v; want %s", err, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Run(ctx, "", "sleep", "60"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
