package writefile

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

func TestWrite(t *testing.T) {
	me := fmt.Sprintf("%d:%d", os.Getuid(), os.Getgid())
	root := t.TempDir()
	var cfg osconfig.Config
	problems := cfg.Merge("test", []byte(`
write_files:
- {path: /a/b/c, content: aGVsbG8=, encoding: b64, owner: "`+me+`", permissions: "4710"}
- {path: /a/b/c, content: again, owner: "`+me+`", permissions: "0600"}
`))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	tests := []struct {
		content string
		mode    fs.FileMode
	}{{"hello", 0o710 | fs.ModeSetuid}, {"again", 0o600}}
	for i, tt := range tests {
		path := filepath.Join(root, "a/b/c")
		if err := Write(path, cfg.WriteFiles[i]); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil || string(text) != tt.content || info.Mode() != tt.mode {
			t.Errorf("file %d = %q, %v, %v; want %q, %v", i, text, info.Mode(), err, tt.content, tt.mode)
		}
	}
	if entries, err := os.ReadDir(filepath.Join(root, "a/b")); err != nil || len(entries) != 1 {
		t.Errorf("directory has %v, %v; want the file alone", entries, err)
	}
	if err := Write(filepath.Join(root, "x"), osconfig.File{Path: "/x", Owner: "no-such-user"}); err == nil {
		t.Error("a file for a user that does not exist: no error")
	}
}
