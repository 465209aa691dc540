package pid1

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/bulkhead-os/bulkhead/internal/layout"
)

// Daemons find a parser, and so confine containers, only if the kernel has the
// profiles.
func TestConfine(t *testing.T) {
	dir := t.TempDir()
	policy, kernel, parser := filepath.Join(dir, "policy"), filepath.Join(dir, "replace"), filepath.Join(dir, "parser")
	if err := os.WriteFile(policy, []byte("profiles"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := confine(policy, kernel, parser); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without AppArmor: %v; want no such file", err)
	}
	if _, err := os.Lstat(parser); err == nil {
		t.Error("without AppArmor daemons find a parser")
	}
	if err := os.WriteFile(kernel, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := confine(policy, kernel, parser); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(kernel)
	if err != nil || string(got) != "profiles" {
		t.Errorf("the kernel got %q, %v", got, err)
	}
	if target, err := os.Readlink(parser); err != nil || target != layout.AppArmorNoParser {
		t.Errorf("the parser is %s, %v; want %s", target, err, layout.AppArmorNoParser)
	}
}
