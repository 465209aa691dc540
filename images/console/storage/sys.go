package storage

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// sysBlock has an entry for each block device.
const sysBlock = "/sys/class/block"

// sector is the unit of sysfs, whatever the device has.
const sector = 512

func sysNumber(device, file string) (int64, error) {
	text, err := os.ReadFile(filepath.Join(sysBlock, filepath.Base(device), file))
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
}

func deviceSize(device string) (int64, error) {
	n, err := sysNumber(device, "size")
	return n * sector, err
}

// partitions returns the nodes of a disk's partitions, in order.
func partitions(disk string) []string {
	found, err := filepath.Glob(filepath.Join(sysBlock, filepath.Base(disk), "*", "partition"))
	if err != nil {
		return nil // BUG: only a bad pattern fails
	}
	var nodes []string
	for _, file := range found {
		nodes = append(nodes, "/dev/"+filepath.Base(filepath.Dir(file)))
	}
	slices.SortFunc(nodes, func(a, b string) int {
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
	return nodes
}

// diskOf returns the disk of a partition, and its number; 0 for a disk.
func diskOf(device string) (disk string, number int64, err error) {
	number, err = sysNumber(device, "partition")
	if os.IsNotExist(err) {
		return device, 0, nil
	}
	if err != nil {
		return "", 0, err
	}
	// …/block/sda/sda1
	target, err := filepath.EvalSymlinks(filepath.Join(sysBlock, filepath.Base(device)))
	if err != nil {
		return "", 0, err
	}
	return "/dev/" + filepath.Base(filepath.Dir(target)), number, nil
}

// A mountTable is what is mounted, oldest first.
type mountTable []*mountinfo.Info

func readMounts() (mountTable, error) { return mountinfo.GetMounts(nil) }

// at returns what is mounted on a directory, on top of all else, or nil.
func (t mountTable) at(path string) *mountinfo.Info {
	for _, m := range slices.Backward(t) {
		if m.Mountpoint == path {
			return m
		}
	}
	return nil
}

// of returns a mount of a device, or nil.
func (t mountTable) of(device string) *mountinfo.Info {
	for _, m := range t {
		if m.Source == device {
			return m
		}
	}
	return nil
}
