package tools

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A program that needs its release's libraries gets a command; a script does not.
func TestWrap(t *testing.T) {
	part := t.TempDir()
	program, err := os.ReadFile("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"usr/bin/qemu-system-x86_64": string(program),
		"usr/sbin/mkfs.ext4":         string(program),
		"usr/bin/script":             "#!/bin/sh\n",
	} {
		file := filepath.Join(part, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := (&Tools{root: "/tree"}).wrap(part); err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	entries, err := os.ReadDir(filepath.Join(part, commandsDir))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(part, commandsDir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		_, got[e.Name()], _ = strings.Cut(string(text), "exec ")
	}
	const start = "'/tree/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2' --argv0 "
	const library = " --library-path '/tree/usr/lib/x86_64-linux-gnu' "
	want := map[string]string{
		"qemu-system-x86_64": start + "'qemu-system-x86_64'" + library + "'/tree/usr/bin/qemu-system-x86_64' -L '/tree/usr/share/qemu' -L '/tree/usr/share/seabios' \"$@\"\n",
		"mkfs.ext4":          start + "'mkfs.ext4'" + library + "'/tree/usr/sbin/mkfs.ext4' \"$@\"\n",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("commands differ (-want +got):\n%s", diff)
	}
}
