package kmsg

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestRecord(t *testing.T) {
	tests := []struct {
		name string
		p    Priority
		msg  string
		want string
	}{
		{"info", Info, "init: ok", "<30>init: ok"},
		{"error", Error, "init: bad", "<27>init: bad"},
		{"lines", Info, "a\n\n b\n", "<30>a; b"},
		{"bytes", Info, "a\xffb", "<30>a?b"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Record(tt.p, tt.msg); got != tt.want {
				t.Errorf("Record(%d, %q) = %q; want %q", tt.p, tt.msg, got, tt.want)
			}
		})
	}
}

func TestRecordIsCutBetweenCharacters(t *testing.T) {
	for n := 880; n < 910; n++ {
		got := Record(Info, strings.Repeat("a", n)+"äöü€")
		if len(got) > maxRecord {
			t.Errorf("record of a %d-byte message has %d bytes", n, len(got))
		}
		if !utf8.ValidString(got) {
			t.Errorf("record of a %d-byte message is not UTF-8", n)
		}
	}
}

func TestWriteIsOneRecord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kmsg")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := write(path, Notice, "hello"); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("<29>hello", string(got)); diff != "" {
		t.Error(diff)
	}
}

func TestFailure(t *testing.T) {
	got := Failure("mount-state", errors.New("mount /dev/sda:\nbad magic"), "run e2fsck")
	want := `bulkhead: FAILED step=mount-state cause="mount /dev/sda:; bad magic" remedy="run e2fsck"`
	if got != want {
		t.Errorf("Failure() = %s; want %s", got, want)
	}
}

func TestConsoles(t *testing.T) {
	tests := []struct {
		name, active, serialType string
		want                     []string
	}{
		{"active only", "tty0\n", "", []string{"tty0"}},
		{"serial port beside", "tty0\n", "4", []string{"tty0", "ttyS0"}},
		{"serial port active", "tty0 ttyS0\n", "4", []string{"tty0", "ttyS0"}},
		{"placeholder port", "tty0\n", "0", []string{"tty0"}},
		{"none", "", "", []string{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			writeFile(t, filepath.Join(root, "sys/class/tty/console/active"), tt.active)
			if tt.serialType != "" {
				writeFile(t, filepath.Join(root, "sys/class/tty/ttyS0/type"), tt.serialType+"\n")
			}
			if diff := cmp.Diff(tt.want, consoles(root)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
