package preload

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-os/bulkhead/internal/blockdev"
	"github.com/bulkhead-os/bulkhead/internal/layout"
)

// DiskLabel is the label, in whatever case, of file systems with archives, which
// lie in the folders of layout.PreloadDir. FAT has room for eleven characters.
const DiskLabel = "PRELOAD"

// A Disk is a file system with archives. It is mounted nowhere but in this
// process, read-only.
type Disk struct {
	device blockdev.Device
	root   *os.File
}

// Disks opens the disks that are attached now. Those that cannot be are in the
// error.
func Disks() ([]Disk, error) {
	devices, err := blockdev.List("/")
	if err != nil {
		return nil, fmt.Errorf("look for disks with images: %w", err)
	}
	var disks []Disk
	var errs []error
	for _, device := range devices {
		if !device.HasLabel(DiskLabel) {
			continue
		}
		root, err := mount(device)
		if err != nil {
			errs = append(errs, fmt.Errorf("disk with images: mount %s: %w", device, err))
			continue
		}
		disks = append(disks, Disk{device, root})
	}
	return disks, errors.Join(errs...)
}

// Folder returns a folder of the disk, which is there until Close.
func (d Disk) Folder(name string) Folder {
	return Folder{
		Name:   filepath.Join(d.device.Path, name),
		Dir:    fmt.Sprintf("/proc/self/fd/%d/%s", d.root.Fd(), name),
		Stamps: filepath.Join(layout.PreloadDisks, cmp.Or(d.device.Info.UUID, "no-uuid"), name),
	}
}

// Close unmounts the disk.
func (d Disk) Close() error { return d.root.Close() }

// mount returns the root of a mount that has no place in the file tree.
func mount(device blockdev.Device) (*os.File, error) {
	fs, err := unix.Fsopen(device.Info.Type, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fs)
	if err := unix.FsconfigSetString(fs, "source", device.Path); err != nil {
		return nil, err
	}
	if err := unix.FsconfigSetFlag(fs, "ro"); err != nil {
		return nil, err
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, err
	}
	// A link on the disk is not to lead to a file of the system.
	const attributes = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC | unix.MOUNT_ATTR_NOSYMFOLLOW
	root, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, attributes)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(root), device.Path), nil
}
