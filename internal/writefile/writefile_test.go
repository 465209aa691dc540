package writefile

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
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

// A link that somebody else may have made leads nowhere: neither to what is
// appended to, nor to the directory.
func TestLinks(t *testing.T) {
	root := t.TempDir()
	secret, home := filepath.Join(root, "secret"), filepath.Join(root, "home")
	for _, dir := range []string{home, secret} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(secret, "shadow"), []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{".profile": filepath.Join(secret, "shadow"), ".config": secret} {
		if err := os.Symlink(target, filepath.Join(home, link)); err != nil {
			t.Fatal(err)
		}
	}
	file := osconfig.File{Content: "text", Owner: osconfig.Owner(fmt.Sprint(os.Getuid())), Permissions: 0o644}
	appended := file
	appended.Append = true
	attempts := func() []error {
		return []error{Write(filepath.Join(home, ".profile"), appended), Write(filepath.Join(home, ".config/app/foo"), file)}
	}
	// Whose directory it is decides; others may write to this one.
	if err := os.Chmod(home, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, err := range attempts() {
		if err == nil || !strings.Contains(err.Error(), "link") {
			t.Errorf("a link of somebody else: %v; want an error", err)
		}
	}
	if entries, err := os.ReadDir(secret); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v; want the secret alone", entries, err)
	}
	// The link itself is replaced by a file that is not appended to.
	if err := Write(filepath.Join(home, ".profile"), file); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(filepath.Join(secret, "shadow")); err != nil || string(text) != "secret\n" {
		t.Errorf("what the link led to is %q, %v", text, err)
	}
}
