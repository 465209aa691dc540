// Package store writes the files of the configuration: each is whole at any
// moment, old or new, and nobody but root may read it. What is in them is the
// business of package osconfig.
package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

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
