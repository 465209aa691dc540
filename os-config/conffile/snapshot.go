package conffile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-os/bulkhead/internal/layout"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

// Snapshot copies all files that osconfig.Load reads below root into a
// directory, below which Load finds the same configuration. The directory is
// the previous or the new one at any moment, and root's alone: there are
// secrets in it. A file that cannot be read is left out and told; its last
// good copy is not.
func Snapshot(root, dir string) error {
	next := dir + ".new"
	if err := os.RemoveAll(next); err != nil {
		return err
	}
	if err := os.MkdirAll(next, 0o700); err != nil {
		return err
	}
	files, err := osconfig.Files(root)
	errs := []error{err}
	for _, file := range files {
		errs = append(errs, copyFile(root, next, file), copyFile(root, next, osconfig.GoodCopy(file)))
	}
	errs = append(errs, copyFile(root, next, layout.Metadata), Replace(next, dir))
	return errors.Join(errs...)
}

// copyFile copies a file, if it is there, to the same place below another root.
func copyFile(from, to, file string) error {
	text, err := osconfig.ReadFile(filepath.Join(from, file))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	path := filepath.Join(to, file)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}

// Replace puts a directory into the place of another one, which goes, or into
// that of none.
func Replace(next, dir string) error {
	err := unix.Renameat2(unix.AT_FDCWD, next, unix.AT_FDCWD, dir, unix.RENAME_EXCHANGE)
	if errors.Is(err, fs.ErrNotExist) {
		return os.Rename(next, dir)
	}
	if err != nil {
		return fmt.Errorf("replace %s by %s: %w", dir, next, err)
	}
	return os.RemoveAll(next)
}
