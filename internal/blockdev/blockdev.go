// Package blockdev finds block devices by what is on them: file-system label,
// UUID, partition name. It reads sysfs and the superblocks itself, because in
// early boot there is no udev that keeps /dev/disk. It never writes.
package blockdev

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/bulkhead-os/bulkhead/internal/gpt"
)

// A Device is a block device and what was found on it.
type Device struct {
	// Name is the kernel's, for example "sda1" or "nvme0n1p2".
	Name string
	// Path is the device node, "/dev/" and the name.
	Path string
	// Size is in bytes.
	Size int64
	// Disk is the name of the whole disk when the device is a partition.
	Disk string
	// PartNumber, PartName and PartUUID are the partition's in a GPT.
	PartNumber int
	PartName   string
	PartUUID   string
	// Sector is the size of a logical sector in bytes.
	Sector int
	// ReadOnly is set for write-protected devices.
	ReadOnly bool
	// Info is the file system, if any was recognised.
	Info Info
}

// String describes the device for a person: "/dev/sda1 (ext4 \"data\", 512 MiB)".
func (d Device) String() string {
	kind := d.Info.Type
	if kind == "" {
		kind = "unknown content"
	}
	if d.Info.Label != "" {
		kind += fmt.Sprintf(" %q", d.Info.Label)
	}
	return fmt.Sprintf("%s (%s, %d MiB)", d.Path, kind, d.Size>>20)
}

// HasLabel reports whether the file system has this label, whatever its case:
// those of FAT are often upper case.
func (d Device) HasLabel(label string) bool { return strings.EqualFold(d.Info.Label, label) }

// List returns the block devices under a root directory ("/") that have
// content, with partitions before the disk they are on and disks in the order
// of their names. A device that cannot be read (a drive without medium) is
// left out.
func List(root string) ([]Device, error) {
	class := filepath.Join(root, "sys/class/block")
	entries, err := os.ReadDir(class)
	if err != nil {
		return nil, fmt.Errorf("list block devices: %w", err)
	}
	var devices []Device
	for _, e := range entries {
		if isIgnored(e.Name()) {
			continue
		}
		d := describe(class, e.Name())
		if d.Size == 0 {
			continue
		}
		if d.Info, err = probeFile(filepath.Join(root, d.Path)); err != nil {
			continue
		}
		devices = append(devices, d)
	}
	identify(devices, root)
	slices.SortFunc(devices, compare)
	return devices, nil
}

// identify fills in what the partition tables say: in early boot the kernel
// tells no UUID of a partition.
func identify(devices []Device, root string) {
	tables := make(map[string]gpt.Table)
	for i := range devices {
		d := &devices[i]
		if d.Disk == "" {
			continue
		}
		if _, read := tables[d.Disk]; !read {
			// A disk without such a table has partitions without a name.
			tables[d.Disk], _ = readTable(filepath.Join(root, "dev", strings.ReplaceAll(d.Disk, "!", "/")), d.Sector)
		}
		if parts := tables[d.Disk].Partitions; d.PartNumber > 0 && d.PartNumber <= len(parts) {
			d.PartUUID, d.PartName = parts[d.PartNumber-1].ID.String(), parts[d.PartNumber-1].Name
		}
	}
}

func readTable(path string, sector int) (gpt.Table, error) {
	f, err := os.Open(path)
	if err != nil {
		return gpt.Table{}, err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return gpt.Table{}, err
	}
	return gpt.Read(f, size, sector)
}

// isIgnored skips devices that carry no disk: RAM disks, and floppy drives,
// which need seconds to say that they are empty.
func isIgnored(name string) bool {
	for _, prefix := range []string{"ram", "zram", "fd", "nbd"} {
		if rest, ok := strings.CutPrefix(name, prefix); ok && rest != "" && rest[0] >= '0' && rest[0] <= '9' {
			return true
		}
	}
	return false
}

// compare puts a partition before its disk: mounting the whole of a disk that
// an ISO image was written to would lock out its other partitions.
func compare(a, b Device) int {
	disk := func(d Device) string {
		if d.Disk != "" {
			return d.Disk
		}
		return d.Name
	}
	if c := natural(disk(a), disk(b)); c != 0 {
		return c
	}
	if (a.Disk == "") != (b.Disk == "") {
		if a.Disk == "" {
			return 1
		}
		return -1
	}
	return natural(a.Name, b.Name)
}

// natural orders sdz before sdaa and sda2 before sda10.
func natural(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

// describe reads what sysfs says about a device.
func describe(class, name string) Device {
	dir := filepath.Join(class, name)
	attr := func(file string) string {
		b, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(b))
	}
	uevent := attr("uevent")
	d := Device{Name: name, Path: "/dev/" + strings.ReplaceAll(name, "!", "/"), ReadOnly: attr("ro") == "1"}
	// The unit is 512 bytes whatever the sector size.
	if sectors, err := strconv.ParseInt(attr("size"), 10, 64); err == nil {
		d.Size = sectors * 512
	}
	d.PartNumber, _ = strconv.Atoi(attr("partition"))
	if attr("partition") != "" {
		// …/block/sda/sda1
		if target, err := filepath.EvalSymlinks(dir); err == nil {
			dir = filepath.Dir(target)
			d.Disk = filepath.Base(dir)
		}
	}
	d.Sector = 512
	if sector, err := strconv.Atoi(attr("queue/logical_block_size")); err == nil {
		d.Sector = sector
	}
	for line := range strings.Lines(uevent) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "PARTNAME="); ok {
			d.PartName = v
		}
	}
	return d
}

func probeFile(path string) (Info, error) {
	f, err := os.Open(path)
	if err != nil {
		return Info{}, err
	}
	defer f.Close()
	return Probe(f)
}

// Match returns the devices that a specification names: LABEL=, UUID=,
// PARTLABEL=, PARTUUID= or a path below /dev. Links such as those in /dev/disk are
// followed under root ("/").
func Match(devices []Device, spec, root string) ([]Device, error) {
	var match func(Device) bool
	tag, value, isTag := strings.Cut(spec, "=")
	switch {
	case isTag && value == "":
		return nil, fmt.Errorf("device %q: nothing after the equals sign", spec)
	case tag == "LABEL":
		match = func(d Device) bool { return d.Info.Label == value }
	case tag == "UUID":
		match = func(d Device) bool { return strings.EqualFold(d.Info.UUID, value) }
	case tag == "PARTLABEL":
		match = func(d Device) bool { return d.PartName == value }
	case tag == "PARTUUID":
		match = func(d Device) bool { return strings.EqualFold(d.PartUUID, value) }
	case strings.HasPrefix(spec, "/dev/"):
		path := spec
		if target, err := filepath.EvalSymlinks(filepath.Join(root, spec)); err == nil {
			if rel, err := filepath.Rel(root, target); err == nil {
				path = "/" + rel
			}
		}
		match = func(d Device) bool { return d.Path == path }
	default:
		return nil, fmt.Errorf("device %q: want LABEL=, UUID=, PARTLABEL=, PARTUUID= or a path below /dev", spec)
	}
	var found []Device
	for _, d := range devices {
		if match(d) {
			found = append(found, d)
		}
	}
	return found, nil
}

// CheckBlank returns nil when the first n bytes are zero, and otherwise an
// error that says what is there.
func CheckBlank(r io.ReaderAt, n int64) error {
	info, err := Probe(r)
	if err != nil {
		return err
	}
	if info.Type != "" {
		return fmt.Errorf("holds %s %q", info.Type, info.Label)
	}
	buf := make([]byte, 64<<10)
	for off := int64(0); off < n; {
		chunk := buf[:min(int64(len(buf)), n-off)]
		got, err := r.ReadAt(chunk, off)
		for i, b := range chunk[:got] {
			if b != 0 {
				return fmt.Errorf("is not empty: byte %d is not zero (a partition table or data)", off+int64(i))
			}
		}
		if errors.Is(err, io.EOF) && int64(got) < int64(len(chunk)) {
			return fmt.Errorf("is shorter than %d bytes", n)
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		off += int64(got)
	}
	return nil
}
