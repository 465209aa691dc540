package preload

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// readingStore records the archives it is given; "bad" ones are damaged.
type readingStore struct {
	fakeStore
	got []string
}

func (s *readingStore) LoadImage(_ context.Context, archive io.Reader) error {
	raw, err := io.ReadAll(archive)
	if bytes.HasPrefix(raw, []byte("bad")) {
		return errors.New("unexpected EOF")
	}
	s.got = append(s.got, string(raw))
	return err
}

func TestArchives(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, at time.Time) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o644), os.Chtimes(path, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	day := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	write("a.tar", "a", day)
	write("b.tgz", "b", day)
	write("c.tar.zst", "bad", day)
	write("notes.txt", "x", day)
	for _, step := range []struct {
		name   string
		change func()
		store  string
		want   []string
		fails  bool
	}{
		{"first boot", func() {}, "one", []string{"a", "b"}, true},
		{"second boot", func() {}, "one", nil, true},
		{"copied again", func() { write("a.tar", "a", day.Add(time.Hour)) }, "one", nil, true},
		{"other content", func() { write("a.tar", "A", day.Add(2*time.Hour)) }, "one", []string{"A"}, true},
		{"mended", func() { write("c.tar.zst", "c", day) }, "one", []string{"c"}, false},
		{"all images gone", func() {}, "two", []string{"A", "b", "c"}, false},
	} {
		step.change()
		s := &readingStore{}
		n, err := Archives(t.Context(), s, step.store, AsIs, At(dir), slog.New(slog.DiscardHandler))
		if (err != nil) != step.fails || n != len(step.want) {
			t.Errorf("%s: %d loaded, %v", step.name, n, err)
		}
		if diff := cmp.Diff(step.want, s.got); diff != "" {
			t.Errorf("%s: %s", step.name, diff)
		}
	}
	write("c.tar.zst", "bad again", day)
	for try := range 5 {
		s := &readingStore{}
		_, err := Archives(t.Context(), s, "two", AsIs, At(dir), slog.New(slog.DiscardHandler))
		if skipped := err != nil && strings.Contains(err.Error(), "failed 3 times: unexpected EOF"); skipped != (try >= 3) || len(s.got) != 0 {
			t.Errorf("try %d of a bad archive: %v", try, err)
		}
	}
	if n, err := Archives(t.Context(), &readingStore{}, "x", AsIs, At(filepath.Join(dir, "none")), slog.New(slog.DiscardHandler)); n != 0 || err != nil {
		t.Errorf("without a directory: %d, %v", n, err)
	}
}

// A disk cannot be written to.
func TestArchivesWithStampsElsewhere(t *testing.T) {
	f := Folder{Name: "/dev/sdx/docker", Dir: t.TempDir(), Stamps: filepath.Join(t.TempDir(), "disks", "1234-ABCD")}
	if !f.Empty() {
		t.Error("a folder without archives is not empty")
	}
	for name, text := range map[string]string{"a.tar": "a", "b.tar": "bad"} {
		if err := os.WriteFile(filepath.Join(f.Dir, name), []byte(text), 0o400); err != nil {
			t.Fatal(err)
		}
	}
	if f.Empty() {
		t.Error("a folder with archives is empty")
	}
	for boot, want := range []int{1, 0} {
		n, err := Archives(t.Context(), &readingStore{}, "one", AsIs, f, slog.New(slog.DiscardHandler))
		if n != want || err == nil || !strings.Contains(err.Error(), "/dev/sdx/docker/b.tar") {
			t.Errorf("boot %d: %d loaded, want %d; %v", boot, n, want, err)
		}
	}
	if left, err := filepath.Glob(f.Dir + "/*"); err != nil || len(left) != 2 {
		t.Errorf("in the folder: %v, %v", left, err)
	}
}
