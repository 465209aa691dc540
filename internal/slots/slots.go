// Package slots knows the two systems on the disk that the machine booted from:
// which one runs, which ones are whole, and where the boot state is.
package slots

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-os/bulkhead/internal/blockdev"
	"github.com/bulkhead-os/bulkhead/internal/bootstate"
	"github.com/bulkhead-os/bulkhead/internal/disklayout"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/partition"
	"github.com/bulkhead-os/bulkhead/internal/release"
	"github.com/bulkhead-os/bulkhead/internal/work"
	"github.com/bulkhead-os/bulkhead/os-config/cmdline"
)

// A Disk is the one that the machine booted from.
type Disk struct {
	Name    string
	Running bootstate.Slot
	// devices are the nodes of its partitions.
	devices map[disklayout.Role]string
	sizes   map[disklayout.Role]int64
}

// ErrNotInstalled says that the running system is not on an installed disk.
var ErrNotInstalled = errors.New("this system does not run from an installed disk")

// Booted returns the disk, by the kernel parameters that its boot loader gave.
// root is "/".
func Booted(root string) (Disk, error) {
	line, err := os.ReadFile(filepath.Join(root, "proc/cmdline"))
	if err != nil {
		return Disk{}, err
	}
	params := cmdline.Parse(string(line))
	d := Disk{Running: bootstate.Slot(params.Get(layout.SlotParam)), devices: make(map[disklayout.Role]string), sizes: make(map[disklayout.Role]int64)}
	if d.Running == bootstate.None {
		return Disk{}, ErrNotInstalled
	}
	all, err := blockdev.List(root)
	if err != nil {
		return Disk{}, err
	}
	for _, part := range all {
		if part.PartUUID != "" && strings.EqualFold(part.PartUUID, params.Get(layout.PartParam)) {
			d.Name = part.Disk
		}
	}
	if d.Name == "" {
		return Disk{}, fmt.Errorf("no partition has the UUID %q that the boot loader named", params.Get(layout.PartParam))
	}
	for _, part := range all {
		if role, ours := strings.CutPrefix(part.PartName, disklayout.NamePrefix); ours && part.Disk == d.Name {
			d.devices[disklayout.Role(role)], d.sizes[disklayout.Role(role)] = part.Path, part.Size
		}
	}
	return d, nil
}

// BootState is the disk's boot state.
func (d Disk) BootState() bootstate.Store {
	return bootstate.Store{Device: d.devices[disklayout.BootState]}
}

// errBusy says that a slot is being written.
var errBusy = errors.New("an upgrade is at work in it")

// errEmpty says that a slot has no system.
var errEmpty = errors.New("it is empty")

// With runs use while a slot is mounted to be read. dir is a directory to mount
// it on.
func (d Disk) With(slot bootstate.Slot, dir string, use func(dir string) error) error {
	if slot == d.Running {
		return use(layout.MediumDir)
	}
	err := look(d.device(slot), dir, use)
	if errors.Is(err, unix.EBUSY) {
		return errBusy
	}
	return err
}

// look runs use while a slot's partition is mounted to be read. A blank one is not
// tried: the kernel would complain about it on the consoles.
func look(device, dir string, use func(dir string) error) error {
	f, err := os.Open(device)
	if err != nil {
		return err
	}
	info, err := blockdev.Probe(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if info.Type != slotFS {
		return errEmpty
	}
	return partition.Mounted(device, slotFS, dir, partition.ReadOnly, use)
}

// device is a slot's partition.
func (d Disk) device(slot bootstate.Slot) string { return d.devices[disklayout.Role(slot)] }

// Release returns the release in a slot. A slot without slot.cfg has none.
func (d Disk) Release(slot bootstate.Slot, dir string) (r release.Release, err error) {
	return r, d.With(slot, dir, func(dir string) error {
		if _, err := os.Stat(filepath.Join(dir, layout.SlotConfig)); errors.Is(err, os.ErrNotExist) {
			return errEmpty
		}
		r, err = release.Look(context.Background(), release.Folder(dir))
		return err
	})
}

// Verify reads all files of the system in a slot and compares their digests.
func (d Disk) Verify(ctx context.Context, slot bootstate.Slot, dir string, meter *work.Meter) error {
	r, err := d.Release(slot, dir)
	if err != nil {
		return err
	}
	meter.Expect(r.Size())
	return d.With(slot, dir, func(dir string) error {
		var errs []error
		for _, file := range r.Files {
			errs = append(errs, file.Verify(ctx, release.Folder(dir), meter))
		}
		return errors.Join(errs...)
	})
}

// Filling is what puts a release into a slot. Its other fields are the caller's.
func (d Disk) Filling(slot bootstate.Slot, r release.Release) Filling {
	return Filling{Release: r, Device: d.device(slot), Seal: SealFile}
}

// Fits reports whether a slot has room for a release.
func (d Disk) Fits(slot bootstate.Slot, m release.Manifest) error {
	return Fits(m, d.sizes[disklayout.Role(slot)])
}

// Fits reports whether a slot of size bytes has room for a release.
func Fits(m release.Manifest, size int64) error {
	if m.Size() > size*9/10 {
		return fmt.Errorf("the system has %d MiB, too much for a slot of %d MiB", m.Size()/disklayout.MiB, size/disklayout.MiB)
	}
	return nil
}

// A System is one of the two.
type System struct {
	Slot    bootstate.Slot `json:"slot"`
	Version string         `json:"version,omitempty"`
	Serial  int64          `json:"serial,omitempty"`
	// Running: it is this one. Good: it starts, unless one is on trial. Trial:
	// it starts as often as the boot state allows.
	Running bool `json:"running"`
	Good    bool `json:"good"`
	Trial   bool `json:"trial"`
	// Problem is why it cannot be started.
	Problem string `json:"problem,omitempty"`
}

// Systems lists them. dir is a directory to mount on.
func (d Disk) Systems(dir string) ([]System, error) {
	blocks, err := d.BootState().Read()
	if err != nil {
		return nil, err
	}
	// A state that is lost counts as one where a is good.
	state, _ := blocks.Read()
	var list []System
	for _, slot := range []bootstate.Slot{bootstate.A, bootstate.B} {
		s := System{Slot: slot, Running: slot == d.Running, Good: slot == state.Good, Trial: slot == state.Try && slot != state.Good}
		r, err := d.Release(slot, dir)
		if err != nil {
			s.Problem = err.Error()
		}
		s.Version, s.Serial = r.Version, r.Serial
		list = append(list, s)
	}
	return list, nil
}

// Rollback has the other system start from now on.
func (d Disk) Rollback(dir string) (System, error) {
	other := d.Running.Other()
	r, err := d.Release(other, dir)
	if err != nil {
		return System{}, fmt.Errorf("slot %s cannot be started: %w", other, err)
	}
	lock, err := d.Lock()
	if err != nil {
		return System{}, err
	}
	defer lock.Close()
	state, _, _, err := d.read()
	if err != nil {
		return System{}, err
	}
	state.N++
	state.Good, state.Try = other, bootstate.None
	return System{Slot: other, Version: r.Version, Serial: r.Serial, Good: true}, d.BootState().Write(state)
}
