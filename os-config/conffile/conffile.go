// Package conffile writes the files of the configuration: each is whole at any
// moment, old or new, and nobody but root may read it. What is in them is the
// business of package osconfig.
package conffile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"github.com/bulkhead-os/bulkhead/internal/layout"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

// Write replaces a file, on the disk and not only in memory. A file that has
// the content already is left alone, which spares the disk.
func Write(path string, text []byte) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, text) {
		return os.Chmod(path, 0o600)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	err := renameio.WriteFile(path, text, 0o600, renameio.WithTempDir(filepath.Dir(path)), renameio.IgnoreUmask())
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	// The new name has to reach the disk too.
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// lockLimit is how long to wait for another writer.
const lockLimit = 10 * time.Second

// Update replaces a file by what change makes of its content, which is nil
// when there is no file. Of several writers at the same time each sees what
// the one before it wrote.
func Update(ctx context.Context, path string, change func(old []byte) ([]byte, error)) error {
	unlock, err := Lock(ctx, filepath.Dir(path))
	if err != nil {
		return err
	}
	defer unlock()
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	text, err := change(old)
	if err != nil {
		return err
	}
	return Write(path, text)
}

// Lock takes the lock of a directory, which is made if need be, for one program
// at a time. It ends with the process at the latest.
func Lock(ctx context.Context, dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, lockLimit)
	defer cancel()
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { d.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			d.Close()
			return nil, fmt.Errorf("lock %s: %w", dir, err)
		}
		select {
		case <-ctx.Done():
			d.Close()
			return nil, fmt.Errorf("lock %s: another program holds it: %w", dir, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// RememberGood keeps a copy of each configuration file that can be used as a
// whole, for a boot that finds the file damaged. Copies of files that are gone
// go too. root is "" on the running system.
func RememberGood(root string) error {
	files, err := osconfig.Files(root)
	if err != nil {
		return err
	}
	var errs []error
	wanted := make(map[string]bool)
	for _, file := range files {
		good := osconfig.GoodCopy(file)
		wanted[filepath.Base(good)] = true
		text, err := os.ReadFile(filepath.Join(root, file))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			delete(wanted, filepath.Base(good))
		case err == nil && osconfig.Usable(text):
			errs = append(errs, Write(filepath.Join(root, good), text))
		}
	}
	dir := filepath.Join(root, layout.LastGoodDir)
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	for _, e := range entries {
		if !wanted[e.Name()] {
			errs = append(errs, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// Edit is Update for a cloud-config: change gets an empty one when there is no
// file.
func Edit(ctx context.Context, path string, change func(old []byte) ([]byte, error)) error {
	return Update(ctx, path, func(old []byte) ([]byte, error) {
		if old == nil {
			old = []byte("#cloud-config\n")
		}
		return change(old)
	})
}
