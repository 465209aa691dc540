// Package partition divides disks, uses partitions that are mounted for a moment
// only, and makes sure that what was written is on the disk.
package partition

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ReadOnly are the flags for a file system that is only looked at.
const ReadOnly = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC

// Mounted runs use while a device is mounted on dir, and writes all back. kind
// is what mount(2) calls the file system.
func Mounted(device, kind, dir string, flags uintptr, use func(dir string) error) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := unix.Mount(device, dir, kind, flags, ""); err != nil {
		return fmt.Errorf("mount %s (%s): %w", device, kind, err)
	}
	err := use(dir)
	if umountErr := unix.Unmount(dir, 0); umountErr != nil {
		// So that a device is not in use for ever.
		return errors.Join(err, fmt.Errorf("unmount %s: %w", device, umountErr), unix.Unmount(dir, unix.MNT_DETACH))
	}
	return err
}

// DropCache writes a device's cached blocks back and forgets them, so that what
// is read next comes from the disk.
func DropCache(device string) error {
	f, err := os.OpenFile(device, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.IoctlSetInt(int(f.Fd()), unix.BLKFLSBUF, 0); err != nil {
		return fmt.Errorf("drop the cache of %s: %w", device, err)
	}
	return nil
}

// WriteFile writes a file and the directories above it, and waits for the disk.
func WriteFile(name string, data []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
