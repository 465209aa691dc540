package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-os/bulkhead/internal/tool"
)

// stateMount is where the console has the state partition, and dataMount the one
// of people's data, which is the same on many machines.
const (
	stateMount = "/var/lib/rancher"
	dataMount  = "/home"
)

// growMin is how much more space there must be for anything to grow, in
// bytes: tables and alignment take up to 1 MiB at the end of a disk.
const growMin = 4 << 20

// grow makes a partition as large as its disk lets it, and its file system as
// large as the partition. It costs a few reads when there is nothing to do.
func (r Runner) grow(ctx context.Context, item string) error {
	table, err := readMounts()
	if err != nil {
		return err
	}
	if state, data := table.at(stateMount), table.at(dataMount); item == StateDir && state != nil && data != nil && data.Source != state.Source {
		if err := r.grow(ctx, dataMount); err != nil {
			return err
		}
	}
	device := item
	if item == StateDir || !strings.HasPrefix(item, "/dev/") && !strings.Contains(item, "=") {
		at := item
		if item == StateDir {
			at = stateMount
		}
		entry := table.at(filepath.Clean("/" + strings.TrimPrefix(at, "/")))
		if entry == nil {
			return errors.New("nothing is mounted there")
		}
		device = entry.Source
		if !strings.HasPrefix(device, "/dev/") {
			return nil // in RAM
		}
	}
	if device, err = resolve(ctx, device); err != nil {
		return err
	}
	if parts := partitions(device); len(parts) > 0 {
		device = parts[len(parts)-1]
	}
	if err := r.growPartition(ctx, device); err != nil {
		return err
	}
	return r.growFileSystem(ctx, device, table)
}

func (r Runner) growPartition(ctx context.Context, device string) error {
	disk, number, err := diskOf(device)
	if err != nil || number == 0 {
		return err
	}
	var end, last int64
	for _, part := range partitions(disk) {
		start, err := sysNumber(part, "start")
		if err != nil {
			return err
		}
		size, err := sysNumber(part, "size")
		if err != nil {
			return err
		}
		if part == device {
			end = (start + size) * sector
		}
		last = max(last, (start+size)*sector)
	}
	diskSize, err := deviceSize(disk)
	if err != nil || end < last || diskSize-end < growMin {
		return err
	}
	r.Log.Info("grow partition", "device", device, "by_mib", (diskSize-end)>>20)
	n := strconv.FormatInt(number, 10)
	if err := tool.Run(ctx, ", +\n", "/usr/sbin/sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", "--force", "-N", n, disk); err != nil {
		return err
	}
	return tool.Run(ctx, "", "/usr/bin/partx", "--update", "--nr", n, disk)
}

func (r Runner) growFileSystem(ctx context.Context, device string, table mountTable) error {
	size, err := deviceSize(device)
	if err != nil {
		return err
	}
	f, err := os.Open(device)
	if err != nil {
		return err
	}
	defer f.Close()
	area := make([]byte, fsSizeArea)
	if _, err := io.ReadFull(f, area); err != nil {
		return err
	}
	if have := fsSize(area); have == 0 || size-have < growMin {
		return nil
	}
	entry := table.of(device)
	if entry == nil {
		return errors.New("file systems grow while they are mounted; add it to mounts")
	}
	r.Log.Info("grow file system", "device", device, "type", entry.FSType)
	switch entry.FSType {
	case "xfs":
		return tool.Run(ctx, "", "/usr/sbin/xfs_growfs", entry.Mountpoint)
	case "btrfs":
		return tool.Run(ctx, "", "/usr/bin/btrfs", "filesystem", "resize", "max", entry.Mountpoint)
	}
	return tool.Run(ctx, "", "/usr/sbin/resize2fs", device)
}

// useSwapFile makes a swap file, if there is none of the size, and uses it.
func (r Runner) useSwapFile(ctx context.Context, s SwapFile) error {
	swaps, err := os.ReadFile("/proc/swaps")
	if err != nil || strings.Contains("\n"+string(swaps), "\n"+s.Path+" ") {
		return err
	}
	dir := filepath.Dir(s.Path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var memory unix.Sysinfo_t
	var disk unix.Statfs_t
	if err := errors.Join(unix.Sysinfo(&memory), unix.Statfs(dir, &disk)); err != nil {
		return err
	}
	if disk.Type == unix.TMPFS_MAGIC {
		return errors.New("there is no state partition, and a swap file in RAM gains nothing")
	}
	info, err := os.Stat(s.Path)
	size := s.bytes(int64(memory.Totalram)*int64(memory.Unit), int64(disk.Bavail)*disk.Bsize)
	if err != nil || s.Size > 0 && info.Size() != size {
		if err := makeSwapFile(ctx, s.Path, size); err != nil {
			return err
		}
	}
	// With the host's view of the path, by which PID 1 ends its use.
	return tool.Run(ctx, "", "/usr/bin/nsenter", "--target", "1", "--mount", "--", "/usr/sbin/swapon", s.Path)
}

// bytes returns the size: the given one, or as much as there is memory, within
// bounds and leaving most of the disk's free space.
func (s SwapFile) bytes(memory, free int64) int64 {
	if s.Size > 0 {
		return s.Size &^ 4095
	}
	size := min(memory, free/4, 8<<30)
	if s.Max > 0 {
		size = min(size, s.Max)
	}
	return size &^ 4095
}

func makeSwapFile(ctx context.Context, path string, size int64) error {
	draft := path + ".new"
	if err := os.RemoveAll(draft); err != nil {
		return err
	}
	f, err := os.OpenFile(draft, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = unix.Fallocate(int(f.Fd()), 0, 0, size)
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(fmt.Errorf("make a file of %d MiB: %w", size>>20, err), os.Remove(draft))
	}
	if err := tool.Run(ctx, "", "/usr/sbin/mkswap", "--quiet", draft); err != nil {
		return errors.Join(err, os.Remove(draft))
	}
	return os.Rename(draft, path)
}
