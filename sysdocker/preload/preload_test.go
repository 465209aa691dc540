package preload

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
)

// fakeStore holds one image and records what is done to it.
type fakeStore struct {
	image   dockerapi.Image
	err     error // of Image
	loads   dockerapi.Image
	actions []string
}

func (s *fakeStore) Image(context.Context, string) (dockerapi.Image, error) { return s.image, s.err }

func (s *fakeStore) LoadImage(_ context.Context, archive io.Reader) error {
	name, err := io.ReadAll(archive)
	s.actions = append(s.actions, "load "+string(name))
	s.image, s.err = s.loads, nil
	return err
}

func (s *fakeStore) RemoveImage(_ context.Context, ref string) error {
	s.actions = append(s.actions, "remove "+ref)
	return nil
}

func TestEnsure(t *testing.T) {
	entry := images.IndexEntry{Name: "ntp", Ref: "os/ntp:1", Manifest: "sha256:aa", Archive: "ntp.tar", DiffIDs: []string{"sha256:01", "sha256:02"}}
	shipped := dockerapi.Image{ID: "sha256:aa", DiffIDs: entry.DiffIDs}
	tests := []struct {
		name    string
		image   dockerapi.Image
		err     error
		loads   dockerapi.Image
		want    []string
		loaded  bool
		wantErr bool
	}{
		{name: "present", image: shipped, loads: shipped},
		{name: "missing", err: errdefs.ErrNotFound, loads: shipped, want: []string{"load ntp.tar"}, loaded: true},
		{name: "older", image: dockerapi.Image{ID: "sha256:bb"}, loads: shipped,
			want: []string{"remove os/ntp:1", "load ntp.tar"}, loaded: true},
		{name: "half there", image: dockerapi.Image{ID: "sha256:aa", DiffIDs: entry.DiffIDs[:1]}, loads: shipped,
			want: []string{"remove os/ntp:1", "load ntp.tar"}, loaded: true},
		{name: "unreadable", err: errors.New("unexpected end of JSON input"), loads: shipped,
			want: []string{"remove os/ntp:1", "load ntp.tar"}, loaded: true},
		{name: "archive of another image", err: errdefs.ErrNotFound, loads: dockerapi.Image{ID: "sha256:cc"},
			want: []string{"load ntp.tar"}, loaded: true, wantErr: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, entry.Archive), []byte(entry.Archive), 0o644); err != nil {
				t.Fatal(err)
			}
			store := &fakeStore{image: tt.image, err: tt.err, loads: tt.loads}
			l := Loader{Store: store, Dir: dir, Log: slog.New(slog.DiscardHandler)}
			loaded, err := l.Ensure(t.Context(), entry)
			if loaded != tt.loaded || (err != nil) != tt.wantErr {
				t.Errorf("Ensure() = %v, %v; want %v, an error: %v", loaded, err, tt.loaded, tt.wantErr)
			}
			if diff := cmp.Diff(tt.want, store.actions); diff != "" {
				t.Error(diff)
			}
		})
	}
}
