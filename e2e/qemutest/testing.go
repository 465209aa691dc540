package qemutest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// StartT starts a machine for a test, which ends with it. Trouble on the
// console fails the test even if nothing waited for anything. After a failure
// the console log is kept in the test's artefact directory (go test
// -artifacts), or printed in part.
func StartT(t testing.TB, o Options, allow ...*regexp.Regexp) *VM {
	t.Helper()
	Need(t, Binary)
	if o.UEFI {
		NeedFile(t, o.firmware().code)
	}
	if o.Name == "" {
		o.Name = strings.ReplaceAll(t.Name(), "/", "-")
	}
	// Paths of unix sockets are short, artefact directories are not.
	dir, err := os.MkdirTemp("", "vm-*")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), Scaled(10*time.Minute))
	vm, err := Start(ctx, dir, o, allow...)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Logf("%s: %s, ssh %s, files %s", o.Name, Accel(), vm.SSHAddr, dir)
	t.Cleanup(func() {
		if err := vm.Trouble(); err != nil && !t.Failed() {
			t.Error(vm.explain("machine "+o.Name, 0, err))
		}
		vm.Kill()
		cancel()
		KeepLogs(t, dir, o.Name)
	})
	return vm
}

// KeepLogs copies the logs to the artefact directory and removes dir.
func KeepLogs(t testing.TB, dir, name string) {
	for _, file := range []string{consoleLog, qemuLog} {
		if content, err := os.ReadFile(filepath.Join(dir, file)); err == nil {
			_ = os.WriteFile(filepath.Join(t.ArtifactDir(), name+"-"+file), content, 0o644)
		}
	}
	_ = os.RemoveAll(dir)
}

// Missing skips a test that lacks something, or fails it when E2E=required.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("E2E") == "required" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// Need skips a test (see Missing) unless the programs are installed.
func Need(t testing.TB, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			Missing(t, "%s is not installed", p)
		}
	}
}

// NeedFile skips a test (see Missing) unless the file exists.
func NeedFile(t testing.TB, path string) {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		Missing(t, "%v", err)
	}
}
