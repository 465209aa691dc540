package fence

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// always are devices by which the machine as a whole is read or ended.
var always = []Device{
	{Major: 1, Minor: 1},    // mem
	{Major: 1, Minor: 4},    // port
	{Major: 10, Minor: 130}, // watchdog
}

// Devices returns the devices that belong to the OS: memory, watchdogs and, if
// disks is set, each disk that one of the mount points is on, with its
// partitions and the ways around its block device. root is "/", or where a test
// has proc and sys.
func Devices(root string, disks bool, mountPoints ...string) ([]Device, error) {
	found := slices.Clone(always)
	watchdogs, err := numbers(filepath.Join(root, "sys/class/watchdog/*/dev"))
	if err != nil {
		return nil, err
	}
	found = append(found, watchdogs...)
	if !disks {
		return found, nil
	}
	mounted, err := devicesOf(filepath.Join(root, "proc/self/mountinfo"), mountPoints)
	if err != nil {
		return nil, err
	}
	for _, number := range mounted {
		of, err := disksOf(filepath.Join(root, "sys/dev/block", number))
		if err != nil {
			return nil, err
		}
		for _, dir := range of {
			devices, err := ofDisk(dir)
			if err != nil {
				return nil, err
			}
			found = append(found, devices...)
		}
	}
	slices.SortFunc(found, func(a, b Device) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	return slices.Compact(found), nil
}

// devicesOf returns the numbers, such as 8:1, of what is mounted on mount points
// by a mountinfo file. Several can be mounted on one.
func devicesOf(file string, mountPoints []string) ([]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	mounts, err := mountinfo.GetMountsFromReader(f, nil)
	var found []string
	for _, m := range mounts {
		// Number 0 is of file systems without a device.
		if slices.Contains(mountPoints, m.Mountpoint) && m.Major != 0 {
			found = append(found, fmt.Sprintf("%d:%d", m.Major, m.Minor))
		}
	}
	return found, err
}

// disksOf returns the directories below sys of the disks that a block device
// is, or is on: of a partition its disk, of a mapped device those below it.
func disksOf(device string) ([]string, error) {
	dir, err := filepath.EvalSymlinks(device)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // pulled out
	}
	if err != nil {
		return nil, err
	}
	if isPartition(dir) {
		dir = filepath.Dir(dir)
	}
	all := []string{dir}
	below, err := filepath.Glob(dir + "/slaves/*")
	if err != nil {
		return nil, err
	}
	for _, b := range below {
		of, err := disksOf(b)
		if err != nil {
			return nil, err
		}
		all = append(all, of...)
	}
	return all, nil
}

func isPartition(dir string) bool {
	_, err := os.Stat(dir + "/partition")
	return err == nil
}

// ofDisk returns a disk, its partitions, and the character devices by which its
// driver takes commands: those of SCSI and NVMe.
func ofDisk(dir string) ([]Device, error) {
	partitions, err := filepath.Glob(dir + "/*/partition")
	if err != nil {
		return nil, err
	}
	files := []string{dir + "/dev"}
	for _, p := range partitions {
		files = append(files, filepath.Join(filepath.Dir(p), "dev"))
	}
	var found []Device
	for _, f := range files {
		d, err := numbers(f)
		if err != nil {
			return nil, err
		}
		for i := range d {
			d[i].Block = true
		}
		found = append(found, d...)
	}
	for _, pattern := range []string{"/device/dev", "/device/ng*/dev", "/device/scsi_generic/*/dev", "/device/bsg/*/dev"} {
		d, err := numbers(dir + pattern)
		if err != nil {
			return nil, err
		}
		found = append(found, d...)
	}
	return found, nil
}

// numbers reads the files that match a pattern, each of which has the numbers of
// a character device.
func numbers(pattern string) ([]Device, error) {
	files, err := filepath.Glob(pattern)
	if err != nil {
		return nil, err
	}
	var found []Device
	for _, file := range files {
		text, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // gone meanwhile
		}
		if err != nil {
			return nil, err
		}
		var d Device
		if _, err := fmt.Sscanf(string(text), "%d:%d", &d.Major, &d.Minor); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		found = append(found, d)
	}
	return found, nil
}
