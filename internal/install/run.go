package install

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-os/bulkhead/internal/bootstate"
	"github.com/bulkhead-os/bulkhead/internal/disklayout"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/partition"
	"github.com/bulkhead-os/bulkhead/internal/slots"
	"github.com/bulkhead-os/bulkhead/internal/tool"
	"github.com/bulkhead-os/bulkhead/internal/work"
)

// A Result is what was done.
type Result struct {
	Device  string  `json:"device"`
	GUID    string  `json:"guid"`
	ID      string  `json:"id"`
	Version string  `json:"version"`
	Bytes   int64   `json:"bytes"`
	Seconds float64 `json:"seconds"`
}

// run is an installation at work.
type run struct {
	*Plan
	// disk is locked: udev would make the kernel read the partition table,
	// which is not there yet, and forget the partitions.
	disk *os.File
	// ours: what was on the disk is gone. Before, a failure changes nothing.
	ours  bool
	meter work.Meter
	// sums are those of the files on the EFI partition.
	sums map[string][sha256.Size]byte
}

// recordID is a key of the boot state's record, a block like the others.
const recordID = "id"

// Run installs. After a failure nothing can be booted from the disk.
func (p *Plan) Run(ctx context.Context, report func(work.Progress)) (Result, error) {
	start := time.Now()
	r := &run{Plan: p, meter: work.Meter{Report: report}, sums: make(map[string][sha256.Size]byte)}
	var err error
	if r.disk, err = lock(p.Disk.Path); err != nil {
		return Result{}, err
	}
	defer r.disk.Close()
	steps := p.Steps()
	for i, s := range steps {
		r.meter.Begin(i+1, len(steps), s.Name)
		err := ctx.Err()
		if err == nil {
			err = s.do(r, ctx)
		}
		if err != nil {
			err = fmt.Errorf("%s: %s: %w", p.Disk.Path, s.Name, err)
			if r.ours {
				err = errors.Join(err, r.clearTable())
			}
			return Result{}, err
		}
	}
	return Result{p.Disk.Path, p.Table.ID.String(), p.ID, p.Release.Version, p.Release.Size(), time.Since(start).Seconds()}, nil
}

// udev has the lock while it looks at a disk, which takes long on a busy machine.
const (
	lockLimit = 30 * time.Second
	lockPause = 200 * time.Millisecond
)

// lock opens a disk, and keeps udev and other installations away from it.
func lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	for begin := time.Now(); ; time.Sleep(lockPause) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return f, nil
		case !errors.Is(err, unix.EWOULDBLOCK), time.Since(begin) > lockLimit:
			f.Close()
			return nil, fmt.Errorf("%s: another program works on it: %w", path, err)
		}
	}
}

// clear makes the disk an empty one to firmware and systems.
func (r *run) clear(context.Context) error {
	// What a run that was killed has left.
	_ = unix.Unmount(r.dir(), unix.MNT_DETACH)
	// Nobody else may have the disk, nor a file system on it, in any namespace.
	f, err := os.OpenFile(r.Disk.Path, os.O_RDWR|unix.O_EXCL, 0)
	if err != nil {
		return fmt.Errorf("it is in use by something that the list of mounts does not show: %w", err)
	}
	defer f.Close()
	r.ours = true
	if err := r.clearTable(); err != nil {
		return err
	}
	return rereadTable(f)
}

// clearTable overwrites the first and the last MiB, where tables are.
func (r *run) clearTable() error {
	err := zero(r.disk, 0, disklayout.MiB)
	if err == nil {
		err = zero(r.disk, r.Disk.Size-disklayout.MiB, disklayout.MiB)
	}
	return errors.Join(err, r.disk.Sync())
}

// addPartitions makes the partitions known to the kernel, and forgets what was
// in them: an earlier slot must not be found in its old place.
func (r *run) addPartitions(context.Context) error {
	for _, p := range r.Parts {
		if err := zero(r.disk, p.Start, disklayout.MiB); err != nil {
			return err
		}
		if err := partition.Add(r.disk, p.Number, p.Start, p.Size); err != nil {
			return err
		}
	}
	return r.disk.Sync()
}

func (r *run) tool(ctx context.Context, argv ...string) error {
	return tool.Run(ctx, "", slices.Concat(r.Tool, argv)...)
}

// dir is where the disk's partitions are mounted.
func (r *run) dir() string { return filepath.Join(r.Dir, filepath.Base(r.Disk.Path)) }

// mounted runs use while a partition is mounted, and writes all back.
func (r *run) mounted(device, kind string, flags uintptr, use func(dir string) error) error {
	return partition.Mounted(device, kind, r.dir(), flags, use)
}

func (r *run) makeState(ctx context.Context) error {
	if err := r.makeFS(ctx, disklayout.State); err != nil {
		return err
	}
	return r.mounted(r.device(disklayout.State), "ext4", 0, func(dir string) error {
		for _, f := range r.Config {
			if err := partition.WriteFile(filepath.Join(dir, f.Path), f.Data, 0o600); err != nil {
				return err
			}
		}
		if len(r.Config) == 0 {
			return nil
		}
		// It holds passwords and keys.
		return os.Chmod(filepath.Join(dir, layout.ConfDir), 0o700)
	})
}

func (r *run) makeData(ctx context.Context) error { return r.makeFS(ctx, disklayout.Data) }

func (r *run) makeFS(ctx context.Context, role disklayout.Role) error {
	return r.tool(ctx, append([]string{"/usr/sbin/mkfs.ext4"}, r.part(role).MakeFS(r.device(role))...)...)
}

func (r *run) writeBootState(context.Context) error {
	image, err := os.ReadFile(filepath.Join(r.Source.Loader, layout.LoaderBootState))
	if err != nil {
		return err
	}
	state, err := r.state.Encode()
	if err != nil {
		return err
	}
	trials, err := bootstate.Trials{}.Encode()
	if err != nil {
		return err
	}
	record, err := bootstate.Values(map[string]string{
		recordID: r.ID, "version": r.Release.Version, "time": time.Now().UTC().Format(time.RFC3339),
	})
	if err != nil {
		return err
	}
	for at, block := range map[int][]byte{
		bootstate.OS1Offset: state, bootstate.OS2Offset: state,
		bootstate.GrubOffset: trials, bootstate.RecordOffset: record,
	} {
		copy(image[at:], block)
	}
	_, err = r.disk.WriteAt(image, r.part(disklayout.BootState).Start)
	return errors.Join(err, r.disk.Sync())
}

// system fills slot a.
func (r *run) system() slots.Filling {
	return slots.Filling{
		Release: r.Release, Device: r.device(disklayout.SlotA), Dir: r.dir(),
		Tool: r.Tool, Meter: &r.meter, Seal: r.seal,
	}
}

func (r *run) copySystem(ctx context.Context) error { return r.system().Write(ctx) }

func (r *run) checkSystem(ctx context.Context) error { return r.system().Finish(ctx) }

func (r *run) compare(name, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return err
	}
	if [sha256.Size]byte(sum.Sum(nil)) != r.sums[name] {
		return fmt.Errorf("%s is not as it was written: the disk is broken", name)
	}
	return nil
}

// makeESP makes the partition that UEFI and, for the menu, BIOS boot from.
func (r *run) makeESP(ctx context.Context) error {
	device := r.device(disklayout.ESP)
	if err := r.tool(ctx, append(slices.Clone(r.esp.make), device)...); err != nil {
		return err
	}
	files := map[string]string{"boot/grub/grub.cfg": layout.LoaderMenu}
	for _, name := range []string{"BOOTX64.EFI", "grubx64.efi", "mmx64.efi"} {
		files["EFI/BOOT/"+name] = name
	}
	err := r.mounted(device, r.esp.kind, 0, func(dir string) error {
		for to, from := range files {
			data, err := os.ReadFile(filepath.Join(r.Source.Loader, from))
			if err != nil {
				return err
			}
			r.sums[to] = sha256.Sum256(data)
			if err := partition.WriteFile(filepath.Join(dir, to), data, 0o644); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := partition.DropCache(device); err != nil {
		return err
	}
	return r.mounted(device, r.esp.kind, unix.MS_RDONLY, func(dir string) error {
		for name := range files {
			if err := r.compare(name, filepath.Join(dir, name)); err != nil {
				return err
			}
		}
		return nil
	})
}

// writeBootCode writes core.img, and prepares the master boot record. No BIOS
// boots from a disk with sectors of 4 KiB.
func (r *run) writeBootCode(context.Context) error {
	if r.Disk.Sector != biosSector {
		return nil
	}
	bootSector, err := os.ReadFile(filepath.Join(r.Source.Loader, layout.LoaderBootSector))
	if err != nil {
		return err
	}
	core, err := os.ReadFile(filepath.Join(r.Source.Loader, layout.LoaderCore))
	if err != nil {
		return err
	}
	start := r.part(disklayout.BIOS).Start
	code, core, err := bootCode(bootSector, core, uint64(start/biosSector))
	if err != nil {
		return err
	}
	copy(r.table.MBR, code)
	_, err = r.disk.WriteAt(core, start)
	return errors.Join(err, r.disk.Sync())
}

// writeTable makes all of it a disk that boots.
func (r *run) writeTable(context.Context) error {
	return partition.WriteTable(r.disk, r.Disk.Size, r.Disk.Sector, r.table)
}
