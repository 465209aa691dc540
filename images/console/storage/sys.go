package storage

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
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

// A mountTable is /proc/self/mountinfo, oldest first.
type mountTable []mountEntry

type mountEntry struct{ path, kind, source string }

func readMounts() (mountTable, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	return parseMounts(string(text)), nil
}

// parseMounts reads the table; see proc_pid_mountinfo(5).
func parseMounts(text string) mountTable {
	var table mountTable
	for line := range strings.Lines(text) {
		before, after, found := strings.Cut(strings.TrimSpace(line), " - ")
		head, tail := strings.Fields(before), strings.Fields(after)
		if found && len(head) > 4 && len(tail) > 1 {
			table = append(table, mountEntry{unescape(head[4]), tail[0], unescape(tail[1])})
		}
	}
	return table
}

// unescape takes back the octal escapes of blanks.
func unescape(s string) string {
	for _, c := range []byte(" \t\n\\") {
		s = strings.ReplaceAll(s, fmt.Sprintf(`\%03o`, c), string(c))
	}
	return s
}

// at returns what is mounted on a directory, on top of all else, or nil.
func (t mountTable) at(path string) *mountEntry {
	for i := range slices.Backward(t) {
		if t[i].path == path {
			return &t[i]
		}
	}
	return nil
}

// of returns a mount of a device, or nil.
func (t mountTable) of(device string) *mountEntry {
	for i := range t {
		if t[i].source == device {
			return &t[i]
		}
	}
	return nil
}
