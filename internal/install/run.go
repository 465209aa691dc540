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
	"github.com/bulkhead-os/bulkhead/internal/fsverity"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/tool"
)

// Progress is how far the work is. Done and Total are bytes; Total is zero for
// steps that take no time worth telling.
type Progress struct {
	Step, Steps int
	Name        string
	Done, Total int64
}

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
	ours   bool
	report func(Progress)
	now    Progress
	// sums are those of the files that were copied.
	sums map[string][sha256.Size]byte
}

// recordID is a key of the boot state's record, a block like the others.
const recordID = "id"

// Run installs. After a failure nothing can be booted from the disk.
func (p *Plan) Run(ctx context.Context, report func(Progress)) (Result, error) {
	start := time.Now()
	r := &run{Plan: p, report: report, sums: make(map[string][sha256.Size]byte)}
	var err error
	if r.disk, err = lock(p.Disk.Path); err != nil {
		return Result{}, err
	}
	defer r.disk.Close()
	steps := p.Steps()
	for i, s := range steps {
		r.now = Progress{Step: i + 1, Steps: len(steps), Name: s.Name}
		r.report(r.now)
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
	return Result{p.Disk.Path, p.Table.ID.String(), p.ID, p.Version, p.bytes, time.Since(start).Seconds()}, nil
}

// lock opens a disk, and keeps udev and other installations away from it.
func lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: another program works on it: %w", path, err)
	}
	return f, nil
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
		if err := addPartition(r.disk, p.Number, p.Start, p.Size); err != nil {
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

// mounted runs use while a device is mounted, and writes all back.
func (r *run) mounted(device, kind string, flags uintptr, use func(dir string) error) error {
	dir := r.dir()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := unix.Mount(device, dir, kind, flags, ""); err != nil {
		return fmt.Errorf("mount %s (%s): %w", device, kind, err)
	}
	err := use(dir)
	if umountErr := unix.Unmount(dir, 0); umountErr != nil {
		// So that a device is not in use for ever.
		return errors.Join(err, fmt.Errorf("unmount %s: %w", device, umountErr), unix.Unmount(dir, unix.MNT_DETACH))
	}
	return err
}

func (r *run) makeState(ctx context.Context) error {
	device := r.device(disklayout.State)
	if err := r.tool(ctx, "/usr/sbin/mkfs.ext4", "-q", "-F", "-L", layout.StateLabel, "-e", "remount-ro", device); err != nil {
		return err
	}
	return r.mounted(device, "ext4", 0, func(dir string) error {
		for _, f := range r.Config {
			if err := writeFile(filepath.Join(dir, f.Path), f.Data, 0o600); err != nil {
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

// reserve is what only daemons get of the data partition, in bytes: user Docker
// must be able to start and to delete when containers have filled it.
func reserve(size int64) int64 { return min(max(size/50, 64*disklayout.MiB), disklayout.GiB) }

func (r *run) makeData(ctx context.Context) error {
	size := r.part(disklayout.Data).Size
	percent := float64(reserve(size)) * 100 / float64(size)
	return r.tool(ctx, "/usr/sbin/mkfs.ext4", "-q", "-F", "-L", layout.DataLabel, "-e", "remount-ro",
		"-m", fmt.Sprintf("%.4f", percent), r.device(disklayout.Data))
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
		recordID: r.ID, "version": r.Version, "time": time.Now().UTC().Format(time.RFC3339),
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

// copySystem fills slot a, but for slot.cfg.
func (r *run) copySystem(ctx context.Context) error {
	device := r.device(disklayout.SlotA)
	// Nobody ever writes to it while it is in use: a journal would only be
	// replayed, and so written, by a system that mounts it.
	if err := r.tool(ctx, "/usr/sbin/mkfs.ext4", "-q", "-F", "-b", "4096", "-m", "0", "-O", "verity,^has_journal", device); err != nil {
		return err
	}
	r.now.Total = r.bytes
	return r.mounted(device, "ext4", unix.MS_NOATIME, func(dir string) error {
		for _, name := range slotFiles {
			if err := r.copy(ctx, name, filepath.Join(dir, name)); err != nil {
				return err
			}
		}
		return r.seal(filepath.Join(dir, layout.RootImage))
	})
}

// copy copies a file of the medium and notes its sum.
func (r *run) copy(ctx context.Context, name, to string) error {
	from, err := os.Open(filepath.Join(r.Source.Medium, name))
	if err != nil {
		return err
	}
	defer from.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	sum := sha256.New()
	_, err = io.Copy(io.MultiWriter(f, sum), r.watch(ctx, from))
	if err == nil {
		err = f.Sync()
	}
	r.sums[name] = [sha256.Size]byte(sum.Sum(nil))
	return errors.Join(err, f.Close())
}

// sealFile has the kernel check each read of a file.
func sealFile(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	return fsverity.Enable(f)
}

// checkSystem reads back what was copied, from the disk, and then declares the
// slot whole.
func (r *run) checkSystem(ctx context.Context) error {
	device := r.device(disklayout.SlotA)
	if err := dropCache(device); err != nil {
		return err
	}
	r.now.Total = r.bytes
	err := r.mounted(device, "ext4", unix.MS_RDONLY, func(dir string) error {
		for _, name := range slotFiles {
			if err := r.compare(ctx, name, filepath.Join(dir, name)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	config, err := os.ReadFile(filepath.Join(r.Source.Loader, layout.LoaderSlotConfig))
	if err != nil {
		return err
	}
	return r.mounted(device, "ext4", unix.MS_NOATIME, func(dir string) error {
		return writeFile(filepath.Join(dir, layout.SlotConfig), config, 0o644)
	})
}

func (r *run) compare(ctx context.Context, name, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, r.watch(ctx, f)); err != nil {
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
			if err := writeFile(filepath.Join(dir, to), data, 0o644); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := dropCache(device); err != nil {
		return err
	}
	return r.mounted(device, r.esp.kind, unix.MS_RDONLY, func(dir string) error {
		for name := range files {
			if err := r.compare(ctx, name, filepath.Join(dir, name)); err != nil {
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

// writeTable makes all of it a disk that boots. The backup comes first and the
// first sector last, so that no cut between leaves a table that is half.
func (r *run) writeTable(context.Context) error {
	for _, part := range []struct {
		at   int64
		data []byte
	}{
		{r.Disk.Size/int64(r.Disk.Sector)*int64(r.Disk.Sector) - int64(len(r.table.Backup)), r.table.Backup},
		{int64(r.Disk.Sector), r.table.Primary},
		{0, r.table.MBR},
	} {
		if _, err := r.disk.WriteAt(part.data, part.at); err != nil {
			return err
		}
		if err := r.disk.Sync(); err != nil {
			return err
		}
	}
	return nil
}

// writeFile writes a file and the directories above it, and waits for the disk.
func writeFile(name string, data []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// watch reports how far a reader is.
func (r *run) watch(ctx context.Context, from io.Reader) io.Reader {
	return readFunc(func(b []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		n, err := from.Read(b)
		r.now.Done += int64(n)
		r.report(r.now)
		return n, err
	})
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(b []byte) (int, error) { return f(b) }
