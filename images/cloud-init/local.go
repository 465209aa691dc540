package cloudinit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-os/bulkhead/internal/blockdev"
	"github.com/bulkhead-os/bulkhead/os-config/datasource"
	"github.com/bulkhead-os/bulkhead/os-config/datasource/platform"
)

// mountPoint is in the container's own mount namespace.
const mountPoint = "/mnt/config"

// pollInterval is how often to look for a disk that may still appear.
const pollInterval = 200 * time.Millisecond

// askLocal asks the sources that need no network, one after the other, until
// one is there. It asks once, and asks the disks again as long as wait allows
// and the set of block devices changes. The index is that of the source, -1
// when none is there.
func askLocal(ctx context.Context, sources []platform.Source, wait time.Duration) (platform.Answer, int, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	seen := ""
	for first := true; ; first = false {
		names, err := deviceNames()
		if err != nil {
			return platform.Answer{}, -1, err
		}
		if names != seen {
			seen = names
			devices, err := blockdev.List("/")
			if err != nil {
				return platform.Answer{}, -1, err
			}
			for n, source := range sources {
				if a := ask(ctx, source, devices, first); a.Found {
					return a, n, nil
				}
			}
		}
		select {
		case <-ctx.Done():
			return platform.Answer{}, -1, nil
		case <-time.After(pollInterval):
		}
	}
}

// localLimit bounds one source that is neither a disk nor on the network.
const localLimit = 5 * time.Second

// ask asks one source. A source that is not there is no error.
func ask(ctx context.Context, source platform.Source, devices []blockdev.Device, first bool) platform.Answer {
	a := platform.Answer{Source: source}
	switch {
	case source.Network:
	case source.Disk != nil:
		for _, dev := range candidates(devices, source.Disk) {
			res, err := mountAndRead(dev, source.Disk)
			if errors.Is(err, platform.ErrAbsent) {
				continue
			}
			a.Source.Place = dev.String()
			a.Result, a.Err, a.Found = res, err, true
			return a
		}
	case first:
		// The wait is for disks only.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), localLimit)
		defer cancel()
		a.Result, a.Err = source.Fetch(ctx)
		a.Found = !errors.Is(a.Err, platform.ErrAbsent)
	}
	return a
}

func deviceNames() (string, error) {
	entries, err := os.ReadDir("/sys/class/block")
	if err != nil {
		return "", fmt.Errorf("list block devices: %w", err)
	}
	var names strings.Builder
	for _, e := range entries {
		names.WriteString(e.Name() + " ")
	}
	return names.String(), nil
}

// candidates returns the devices that may be a disk.
func candidates(devices []blockdev.Device, disk *platform.Disk) []blockdev.Device {
	var found []blockdev.Device
	for _, d := range devices {
		if slices.ContainsFunc(disk.Labels, d.HasLabel) || disk.Optical && strings.HasPrefix(d.Name, "sr") {
			found = append(found, d)
		}
	}
	return found
}

// mountAndRead returns platform.ErrAbsent for a disk that lacks the marker.
func mountAndRead(dev blockdev.Device, disk *platform.Disk) (datasource.Result, error) {
	if err := mount(dev); err != nil {
		if disk.Marker != "" {
			err = fmt.Errorf("%w: %w", platform.ErrAbsent, err)
		}
		return datasource.Result{}, err
	}
	res, err := readMounted(os.DirFS(mountPoint), disk)
	if uerr := unix.Unmount(mountPoint, unix.MNT_DETACH); uerr != nil {
		err = errors.Join(err, fmt.Errorf("unmount %s: %w", mountPoint, uerr))
	}
	return res, err
}

func readMounted(fsys fs.FS, disk *platform.Disk) (datasource.Result, error) {
	if disk.Marker != "" {
		if _, err := fs.Stat(fsys, disk.Marker); err != nil {
			return datasource.Result{}, platform.ErrAbsent
		}
	}
	return disk.Read(datasource.FromFS(fsys))
}

func mount(dev blockdev.Device) error {
	const flags = unix.MS_RDONLY | unix.MS_NODEV | unix.MS_NOSUID | unix.MS_NOEXEC
	// What has no superblock that blockdev knows may be UDF, as Azure's disk is.
	fsType := cmp.Or(dev.Info.Type, "udf")
	if err := unix.Mount(dev.Path, mountPoint, fsType, flags, ""); err != nil {
		return fmt.Errorf("mount %s on %s (%s): %w", dev.Path, mountPoint, fsType, err)
	}
	return nil
}
