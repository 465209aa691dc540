package pid1

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unsafe"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/bulkhead-os/bulkhead/internal/layout"
)

// A process that was killed lets go of its files a moment later.
const (
	unmountTries = 10
	unmountPause = 200 * time.Millisecond
)

// unmountAll takes the file systems out of use so that none is left with
// unfinished business: unmounted if possible, else read-only.
func unmountAll(ctx context.Context) error {
	swapOff("/proc/swaps")
	detachLoops("/sys/block", "/dev")
	var left []*mountinfo.Info
	for range unmountTries {
		mounts, err := mountinfo.GetMounts(nil)
		if err != nil {
			return err
		}
		left = unmountOrder(mounts)
		busy := false
		for _, m := range left {
			flags := unix.UMOUNT_NOFOLLOW
			if onNetwork(m) {
				flags |= unix.MNT_FORCE | unix.MNT_DETACH // the network is gone, the server does not answer
			}
			busy = unix.Unmount(m.Mountpoint, flags) != nil || busy
		}
		if !busy {
			return nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(unmountPause):
		}
	}
	return makeReadOnly(left)
}

// unmountOrder returns the mounts to unmount, those on others first. What is
// in RAM or read-only for good has nothing to write back, and the root hangs
// on the medium.
func unmountOrder(mounts []*mountinfo.Info) []*mountinfo.Info {
	parent := make(map[int]int)
	for _, m := range mounts {
		parent[m.ID] = m.Parent
	}
	depth := func(m *mountinfo.Info) int {
		n := 0
		for id, ok := m.ID, true; ok && n <= len(mounts); n++ {
			id, ok = parent[id]
		}
		return n
	}
	var todo []*mountinfo.Info
	for _, m := range mounts {
		if !keepsMounted(m) {
			todo = append(todo, m)
		}
	}
	// Of several mounts on one place the newest is on top.
	slices.Reverse(todo)
	slices.SortStableFunc(todo, func(a, b *mountinfo.Info) int { return depth(b) - depth(a) })
	return todo
}

func onNetwork(m *mountinfo.Info) bool {
	return m.FSType == "nfs" || m.FSType == "nfs4" || m.FSType == "cifs" || m.FSType == "smb3"
}

// swapOff takes swap files out of use, which keep their file systems busy.
func swapOff(table string) {
	text, err := os.ReadFile(table)
	if err != nil {
		return
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[1] != "file" {
			continue
		}
		path, err := unix.BytePtrFromString(fields[0])
		if err == nil {
			_, _, _ = unix.Syscall(unix.SYS_SWAPOFF, uintptr(unsafe.Pointer(path)), 0, 0)
		}
	}
}

func keepsMounted(m *mountinfo.Info) bool {
	switch {
	case m.Mountpoint == "/", m.Mountpoint == layout.MediumDir:
		return true
	case m.FSType == "tmpfs", m.FSType == "erofs", m.FSType == "squashfs", m.FSType == "iso9660":
		return true
	}
	for _, dir := range []string{"/proc", "/sys", "/dev"} {
		if m.Mountpoint == dir || strings.HasPrefix(m.Mountpoint, dir+"/") {
			return true
		}
	}
	return false
}

// makeReadOnly is the next best for file systems that stay busy: they write
// back everything and are consistent. Then nothing can reach them any more.
func makeReadOnly(left []*mountinfo.Info) error {
	var errs []error
	for _, m := range left {
		err := unix.Mount("", m.Mountpoint, "", unix.MS_REMOUNT|unix.MS_RDONLY, "")
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			continue // unmounted meanwhile
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s stays in use: %w", m.Mountpoint, err))
		}
		_ = unix.Unmount(m.Mountpoint, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	}
	return errors.Join(errs...)
}

// loopClrFD is LOOP_CLR_FD of linux/loop.h.
const loopClrFD = 0x4C01

// detachLoops frees files that back loop devices: with one of them on it, a
// file system stays busy. One that is itself mounted goes away with its mount.
func detachLoops(sysBlock, dev string) {
	files, err := filepath.Glob(filepath.Join(sysBlock, "loop*", "loop", "backing_file"))
	if err != nil {
		return // BUG: only a bad pattern fails
	}
	for _, file := range files {
		name := filepath.Base(filepath.Dir(filepath.Dir(file)))
		f, err := os.OpenFile(filepath.Join(dev, name), os.O_RDONLY, 0)
		if err != nil {
			continue
		}
		_ = unix.IoctlSetInt(int(f.Fd()), loopClrFD, 0)
		f.Close()
	}
}
