package storage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-os/bulkhead/internal/blockdev"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/milestone"
	"github.com/bulkhead-os/bulkhead/internal/partition"
	"github.com/bulkhead-os/bulkhead/internal/retry"
	"github.com/bulkhead-os/bulkhead/internal/tool"
	"github.com/bulkhead-os/bulkhead/internal/wait"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

const (
	// settleLimit is how long udev may take to name the devices, deviceLimit
	// how long a device may be missing after that before the boot goes on.
	settleLimit = 40 * time.Second
	deviceLimit = 10 * time.Second
	devicePause = 500 * time.Millisecond
	// networkLimit is how long mounts wait for the network.
	networkLimit = 60 * time.Second
	// mountLimit bounds one mount; servers that are down answer never.
	mountLimit = 30 * time.Second
	// retryLimit is how long mounts that failed are tried again.
	retryLimit = 15 * time.Minute
	// blankArea is how much of a disk must be zeros to be called empty.
	blankArea = 1 << 20
)

// A Runner does what a plan says, on the running system.
type Runner struct {
	Log *slog.Logger
	// Report shows people what went wrong.
	Report func(osconfig.Problem)
	// Once: mounts that fail are not tried again, which the report says otherwise.
	Once bool
}

// Prepare partitions disks, makes file systems and swap space, mounts what
// needs no network, and grows what should grow. It returns mounts to try
// again; an error is not about them.
func (r Runner) Prepare(ctx context.Context, p Plan) ([]Mount, error) {
	var errs []error
	for _, problem := range p.Problems {
		errs = append(errs, errors.New(problem))
	}
	if len(p.Disks)+len(p.FileSystems)+len(p.Local) > 0 {
		if err := wait.For(ctx, settleLimit, milestone.UdevSettled, nil); err != nil {
			r.Log.Warn("go on without udev", "err", err)
		}
	}
	until := time.Now().Add(deviceLimit)
	var locks diskLocks
	defer locks.release()
	for _, d := range p.Disks {
		errs = append(errs, about("disk_setup: "+d.Device, r.partition(ctx, until, d, &locks)))
	}
	for _, fs := range p.FileSystems {
		errs = append(errs, about("fs_setup: "+string(fs.Device), r.makeFileSystem(ctx, until, fs)))
	}
	if p.Swap != nil {
		errs = append(errs, about("swap: "+p.Swap.Path, r.useSwapFile(ctx, *p.Swap)))
	}
	failed := r.mountAll(ctx, p.Local)
	for _, item := range p.Grow {
		errs = append(errs, about("growing "+item, r.grow(ctx, item)))
	}
	return failed, errors.Join(errs...)
}

func about(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// MountRemote mounts what needs the network, once that is there.
func (r Runner) MountRemote(ctx context.Context, p Plan) []Mount {
	if len(p.Remote) == 0 {
		return nil
	}
	if err := wait.For(ctx, networkLimit, milestone.NetworkReady, nil); err != nil {
		r.Log.Warn("mount without a network", "err", err)
	}
	return r.mountAll(ctx, p.Remote)
}

// Retry tries failed mounts again, ever less often, and gives up after some
// time.
func (r Runner) Retry(ctx context.Context, failed []Mount) {
	ctx, cancel := context.WithTimeout(ctx, retryLimit)
	defer cancel()
	pauses := retry.Backoff{First: 2 * time.Second, Last: time.Minute}
	for len(failed) > 0 {
		if err := retry.Sleep(ctx, pauses.Next()); err != nil {
			if errors.Is(err, context.DeadlineExceeded) {
				for _, m := range failed {
					r.report(m, fmt.Sprintf("given up after %v", retryLimit))
				}
			}
			return
		}
		var again []Mount
		for _, m := range failed {
			if slices.ContainsFunc(again, m.needs) {
				again = append(again, m)
				continue
			}
			err := r.mount(ctx, time.Now(), m)
			r.Log.Info("mount tried again", "mount", m.String(), "err", err)
			if err != nil {
				again = append(again, m)
			}
		}
		failed = again
	}
}

// report shows people what is wrong with a mount.
func (r Runner) report(m Mount, text string) {
	r.Report(osconfig.Problem{Source: "mounts", Key: m.String(), Text: text})
}

// mountAll mounts in order, and returns what failed.
func (r Runner) mountAll(ctx context.Context, mounts []Mount) []Mount {
	until := time.Now().Add(deviceLimit)
	var failed []Mount
	for _, m := range mounts {
		err := errors.New("it needs another mount, which failed")
		if !slices.ContainsFunc(failed, m.needs) {
			err = r.mount(ctx, until, m)
		}
		if err != nil {
			text := err.Error()
			if !r.Once {
				text += fmt.Sprintf("; it is tried again for %v", retryLimit)
			}
			r.report(m, text)
			failed = append(failed, m)
		}
	}
	return failed
}

// mount mounts one file system or uses one swap space, unless it is in use. It
// waits for the device until the given time.
func (r Runner) mount(ctx context.Context, until time.Time, m Mount) error {
	if inUse, err := m.inUse(); inUse || err != nil {
		return err
	}
	if m.onDevice() {
		if _, err := awaitDevice(ctx, until, m.Device); err != nil {
			return err
		}
	}
	if !m.Swap {
		if err := os.MkdirAll(m.Path, 0o755); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, mountLimit)
	defer cancel()
	if err := tool.Run(ctx, "", m.argv()...); err != nil {
		return err
	}
	r.Log.Info("mounted", "mount", m.String(), "type", m.Type)
	return m.note()
}

// mounted has a line for each mount of this boot. Console's containers come
// and go, mounts in directories of the host stay.
const mounted = layout.RunDir + "/mounted"

func (m Mount) note() error {
	f, err := os.OpenFile(mounted, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, m)
	return errors.Join(err, f.Close())
}

func (m Mount) inUse() (bool, error) {
	if m.Swap {
		device, err := resolve(context.Background(), m.Device)
		if err != nil {
			return false, nil // it is not there yet
		}
		swaps, err := os.ReadFile("/proc/swaps")
		return strings.Contains(string(swaps), device+" "), err
	}
	done, err := os.ReadFile(mounted)
	if err != nil || !strings.Contains("\n"+string(done), "\n"+m.String()+"\n") {
		return false, nil
	}
	table, err := readMounts()
	return table.at(m.Path) != nil, err
}

// partition makes the partitions of a disk, which it keeps from udev.
func (r Runner) partition(ctx context.Context, until time.Time, d Disk, locks *diskLocks) error {
	device, err := awaitDevice(ctx, until, d.Device)
	if err != nil {
		return err
	}
	have, err := look(ctx, device)
	if err != nil {
		return err
	}
	blank, err := isBlank(device)
	if err != nil {
		return err
	}
	switch judgeDisk(d, have, len(partitions(device)), blank) {
	case leave:
		return nil
	case refuse:
		if have == (Content{}) {
			return errors.New("the disk is not empty; set overwrite: true to erase it")
		}
		return fmt.Errorf("the disk holds %v; set overwrite: true to erase it", have)
	}
	if err := checkFree(device); err != nil {
		return err
	}
	if err := locks.take(ctx, until, device); err != nil {
		return err
	}
	r.Log.Warn("partition", "device", device, "had", have.String())
	if d.Layout.Remove {
		return tool.Run(ctx, "", "/usr/sbin/wipefs", "--all", "--quiet", device)
	}
	size, err := deviceSize(device)
	if err != nil {
		return err
	}
	return tool.Run(ctx, d.script(size), "/usr/sbin/sfdisk", "--quiet", "--wipe", "always", "--wipe-partitions", "always", device)
}

// diskLocks are disks that udev leaves alone. Otherwise it has the kernel read
// a new partition table once more, for which all partitions go for a moment,
// the one too that is just given a file system. See
// https://systemd.io/BLOCK_DEVICE_LOCKING.
type diskLocks []*os.File

// take locks a disk; udev may have it until then. Opened for writing, its end
// makes udev look at what was done.
func (l *diskLocks) take(ctx context.Context, until time.Time, device string) error {
	f, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	err = repeat(ctx, until, func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) })
	if err != nil {
		return fmt.Errorf("lock %s: %w", device, errors.Join(err, f.Close()))
	}
	*l = append(*l, f)
	return nil
}

func (l *diskLocks) release() {
	for _, f := range *l {
		_ = f.Close()
	}
}

// makeFileSystem makes a file system.
func (r Runner) makeFileSystem(ctx context.Context, until time.Time, fs osconfig.FSSetup) error {
	device, err := awaitDevice(ctx, until, string(fs.Device))
	if err != nil {
		return err
	}
	switch fs.Partition {
	case "", "none":
	case "auto", "any":
		if device, err = choosePartition(ctx, device, fs); err != nil {
			return err
		}
	default:
		if device, err = awaitDevice(ctx, time.Now().Add(deviceLimit), partition.Path(device, string(fs.Partition))); err != nil {
			return err
		}
	}
	have, err := look(ctx, device)
	if err != nil {
		return err
	}
	switch judgeFS(fs, have) {
	case leave:
		return nil
	case refuse:
		return fmt.Errorf("%s holds %v; set overwrite: true to erase it", device, have)
	}
	if err := checkFree(device); err != nil {
		return err
	}
	argv := makeFS(fs, device)
	if _, err := os.Stat(argv[0]); err != nil {
		return fmt.Errorf("there is no %s here; want ext4, xfs, btrfs, vfat or swap", filepath.Base(argv[0]))
	}
	r.Log.Warn("make file system", "device", device, "type", fs.Filesystem, "had", have.String())
	return tool.Run(ctx, "", argv...)
}

// choosePartition looks for the partition that has the file system already, or
// else for one that has none. A disk without partitions is taken as a whole.
func choosePartition(ctx context.Context, disk string, fs osconfig.FSSetup) (string, error) {
	parts := partitions(disk)
	if len(parts) == 0 {
		return disk, nil
	}
	empty := ""
	for _, part := range parts {
		have, err := look(ctx, part)
		if err != nil {
			return "", err
		}
		if v := judgeFS(fs, have); v == leave {
			return part, nil
		} else if v == build && empty == "" {
			empty = part
		}
	}
	if empty == "" {
		return "", errors.New("no partition is empty")
	}
	return empty, nil
}

// look returns what is on a device.
func look(ctx context.Context, device string) (Content, error) {
	cmd := exec.CommandContext(ctx, "/usr/sbin/blkid", "--probe", "--output", "export", device)
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		switch exit.ExitCode() {
		case 2:
			return Content{}, nil
		case 8:
			return Content{Type: "several kinds of content"}, nil
		}
	}
	if err != nil {
		return Content{}, fmt.Errorf("blkid %s: %w", device, err)
	}
	return parseContent(string(out)), nil
}

func isBlank(device string) (bool, error) {
	f, err := os.Open(device)
	if err != nil {
		return false, err
	}
	defer f.Close()
	return blockdev.CheckBlank(f, blankArea) == nil, nil
}

// checkFree refuses a device that is mounted, used as swap space or part of
// another device: the kernel gives such a one to nobody exclusively (open(2)).
func checkFree(device string) error {
	f, err := os.OpenFile(device, os.O_RDONLY|os.O_EXCL, 0)
	if err != nil {
		return fmt.Errorf("it is in use: %w", err)
	}
	return f.Close()
}

// awaitDevice waits for a device and returns its node. It looks at least once.
func awaitDevice(ctx context.Context, until time.Time, spec string) (device string, err error) {
	err = repeat(ctx, until, func() error {
		device, err = resolve(ctx, spec)
		return err
	})
	return device, err
}

// repeat tries until it works, ctx ends, or the given time; once at least.
func repeat(ctx context.Context, until time.Time, try func() error) error {
	for {
		err := try()
		if err == nil || ctx.Err() != nil || time.Now().After(until) {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(devicePause):
		}
	}
}

// resolve returns the node of a device.
func resolve(ctx context.Context, spec string) (string, error) {
	if strings.Contains(spec, "=") {
		out, err := exec.CommandContext(ctx, "/usr/sbin/findfs", spec).Output()
		if err != nil {
			return "", fmt.Errorf("there is no device with %s", spec)
		}
		return strings.TrimSpace(string(out)), nil
	}
	device, err := filepath.EvalSymlinks(spec)
	if err != nil {
		return "", fmt.Errorf("there is no device %s", spec)
	}
	return device, nil
}
