package tree

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"./": ".", "/etc/": "etc", "./lib/x": "usr/lib/x", "bin/sh": "usr/bin/sh", "lib64/ld.so": "usr/lib64/ld.so",
		"lib": "lib", "var/run/x": "run/x", "usr/lib": "usr/lib", "library/x": "library/x",
	} {
		if got := Clean(in); got != want {
			t.Errorf("Clean(%q) = %q; want %q", in, got, want)
		}
	}
}

// members lists "name type link mode uid" of each member of a tar archive.
func members(t *testing.T, raw []byte) []string {
	t.Helper()
	var out []string
	for tr := tar.NewReader(bytes.NewReader(raw)); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if !h.ModTime.Equal(Epoch) {
			t.Errorf("%s: time %v", h.Name, h.ModTime)
		}
		out = append(out, h.Name+" "+string(h.Typeflag)+" "+h.Linkname)
	}
}

func TestWriteTar(t *testing.T) {
	build := func(order []string) []byte {
		tr := New()
		for _, p := range order {
			if err := tr.File(p, 0o644, Bytes(p)); err != nil {
				t.Fatal(err)
			}
		}
		if err := tr.Symlink("lib", "usr/lib"); err != nil {
			t.Fatal(err)
		}
		// A package from before merged /usr brings the directory.
		if err := tr.Dir("lib", 0o755); err != nil {
			t.Fatal(err)
		}
		// The name that sorts first becomes the file, the other the link.
		link := &tar.Header{Name: "a/alias", Typeflag: tar.TypeLink, Linkname: "lib/z"}
		if err := tr.AddHeader(link, nil); err != nil {
			t.Fatal(err)
		}
		var buf bytes.Buffer
		if err := tr.WriteTar(&buf); err != nil {
			t.Fatal(err)
		}
		return buf.Bytes()
	}
	one, two := build([]string{"lib/z", "a/b"}), build([]string{"a/b", "lib/z"})
	if !bytes.Equal(one, two) {
		t.Error("the order of adding shows in the archive")
	}
	want := []string{
		"./ 5 ", "a/ 5 ", "a/alias 0 ", "a/b 0 ", "lib 2 usr/lib", "usr/ 5 ", "usr/lib/ 5 ", "usr/lib/z 1 a/alias",
	}
	if diff := cmp.Diff(want, members(t, one)); diff != "" {
		t.Error(diff)
	}

	file := filepath.Join(t.TempDir(), "layer.tar")
	if err := os.WriteFile(file, one, 0o644); err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	if err := CopyTar(tw, file, "layers/x"); err != nil {
		t.Fatal(err)
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	got := members(t, buf.Bytes())
	if got[0] != "layers/x/ 5 " || got[len(got)-1] != "layers/x/usr/lib/z 1 layers/x/a/alias" {
		t.Errorf("CopyTar: %q", got)
	}
}

func TestPutConflicts(t *testing.T) {
	tr := New()
	if err := tr.File("a", 0o644, Bytes(nil)); err != nil {
		t.Fatal(err)
	}
	if err := tr.File("a/b", 0o644, Bytes(nil)); err == nil {
		t.Error("a file below a file is no error")
	}
	if err := tr.File("d/e", 0o644, Bytes(nil)); err != nil {
		t.Fatal(err)
	}
	if err := tr.Symlink("d", "x"); err == nil {
		t.Error("a link in place of a full directory is no error")
	}
}
