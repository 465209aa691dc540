// Package preload makes sure that the system daemon has the images the OS was
// shipped with. Their layers are in the daemon's snapshot store before this
// runs (sysdocker/layers), so an archive is a few kilobytes: manifest and
// configuration. It does not know services.
package preload

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
)

// A Store is the image part of a Docker daemon.
type Store interface {
	Image(ctx context.Context, ref string) (dockerapi.Image, error)
	LoadImage(ctx context.Context, archive io.Reader) error
	RemoveImage(ctx context.Context, ref string) error
}

// A Loader loads shipped images into a store.
type Loader struct {
	Store Store
	// Dir holds the archives.
	Dir string
	Log *slog.Logger
}

// Ensure makes sure that the image is in the store, whole and of the shipped
// version, and reports whether it had to be loaded. An image that the store has
// but cannot read, as after a power cut, is replaced.
func (l *Loader) Ensure(ctx context.Context, e images.IndexEntry) (loaded bool, err error) {
	reason := ""
	switch img, err := l.Store.Image(ctx, e.Ref); {
	case dockerapi.IsNotFound(err):
		return true, l.load(ctx, e, "not there")
	case ctx.Err() != nil:
		return false, err
	case err != nil:
		reason = err.Error()
	default:
		differs := check(img, e)
		if differs == nil {
			return false, nil
		}
		reason = differs.Error()
	}
	return true, l.replace(ctx, e, reason)
}

// Have fails if the store has no image of this reference or ID.
func (l *Loader) Have(ctx context.Context, ref string) error {
	_, err := l.Store.Image(ctx, ref)
	return err
}

// Replace throws the image away and loads it again, for an image that looks
// whole but makes no containers.
func (l *Loader) Replace(ctx context.Context, e images.IndexEntry) error {
	return l.replace(ctx, e, "makes no containers")
}

func (l *Loader) replace(ctx context.Context, e images.IndexEntry, reason string) error {
	if err := l.Store.RemoveImage(ctx, e.Ref); err != nil {
		// Loading moves the reference anyway.
		l.Log.Warn("old image stays", "image", e.Ref, "err", err)
	}
	return l.load(ctx, e, reason)
}

func (l *Loader) load(ctx context.Context, e images.IndexEntry, reason string) error {
	archive, err := os.Open(filepath.Join(l.Dir, e.Archive))
	if err != nil {
		return fmt.Errorf("shipped image %s: %w", e.Ref, err)
	}
	defer archive.Close()
	if err := l.Store.LoadImage(ctx, archive); err != nil {
		return fmt.Errorf("shipped image %s: %w", e.Ref, err)
	}
	img, err := l.Store.Image(ctx, e.Ref)
	if err == nil {
		err = check(img, e)
	}
	if err != nil {
		return fmt.Errorf("verify loaded image %s: %w", e.Ref, err)
	}
	l.Log.Info("image loaded", "image", e.Ref, "digest", e.Manifest, "reason", reason)
	return nil
}

// check tells in what the image is not the shipped one.
func check(img dockerapi.Image, e images.IndexEntry) error {
	if img.ID != e.Manifest {
		return fmt.Errorf("digest is %s, shipped is %s", img.ID, e.Manifest)
	}
	if !slices.Equal(img.DiffIDs, e.DiffIDs) {
		return fmt.Errorf("layers are %v, shipped are %v", img.DiffIDs, e.DiffIDs)
	}
	return nil
}
