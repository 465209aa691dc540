// Package slots knows the two systems on the disk that the machine booted from:
// which one runs, which ones are whole, and where the boot state is.
package slots

import (
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
	"github.com/bulkhead-os/bulkhead/os-config/cmdline"
)

// A Disk is the one that the machine booted from.
type Disk struct {
	Name    string
	Running bootstate.Slot
	// devices are the nodes of its partitions.
	devices map[disklayout.Role]string
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
	d := Disk{Running: bootstate.Slot(params.Get(layout.SlotParam)), devices: make(map[disklayout.Role]string)}
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
			d.devices[disklayout.Role(role)] = part.Path
		}
	}
	return d, nil
}

// BootState is the disk's boot state.
func (d Disk) BootState() bootstate.Store {
	return bootstate.Store{Device: d.devices[disklayout.BootState]}
}

// errEmpty says that a slot has no system.
var errEmpty = errors.New("it is empty")

// Version returns the version of the system in a slot. dir is a directory to
// mount it on. A slot without slot.cfg has no system.
func (d Disk) Version(slot bootstate.Slot, dir string) (string, error) {
	if slot == d.Running {
		return version(layout.MediumDir)
	}
	device := d.devices[disklayout.Role(slot)]
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	const flags = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	switch err := unix.Mount(device, dir, "ext4", flags, ""); {
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EUCLEAN):
		return "", errEmpty // no file system
	case err != nil:
		return "", fmt.Errorf("mount %s: %w", device, err)
	}
	v, err := version(dir)
	return v, errors.Join(err, unix.Unmount(dir, 0))
}

// version reads the slot.cfg of a mounted slot.
func version(dir string) (string, error) {
	text, err := os.ReadFile(filepath.Join(dir, layout.SlotConfig))
	if errors.Is(err, os.ErrNotExist) {
		return "", errEmpty
	}
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if title, ok := strings.CutPrefix(strings.TrimSpace(line), `set title="Bulkhead `); ok {
			return strings.TrimSuffix(title, `"`), nil
		}
	}
	return "", fmt.Errorf("%s names no version", layout.SlotConfig)
}

// A System is one of the two.
type System struct {
	Slot    bootstate.Slot `json:"slot"`
	Version string         `json:"version,omitempty"`
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
		if s.Version, err = d.Version(slot, dir); err != nil {
			s.Problem = err.Error()
		}
		list = append(list, s)
	}
	return list, nil
}

// Rollback has the other system start from now on.
func (d Disk) Rollback(dir string) (System, error) {
	other := d.Running.Other()
	v, err := d.Version(other, dir)
	if err != nil {
		return System{}, fmt.Errorf("slot %s cannot be started: %w", other, err)
	}
	blocks, err := d.BootState().Read()
	if err != nil {
		return System{}, err
	}
	state, err := blocks.Read()
	if err != nil {
		state = bootstate.State{Max: bootstate.DefaultMax}
	}
	state.N, state.Good, state.Try = state.N+1, other, bootstate.None
	return System{Slot: other, Version: v, Good: true}, d.BootState().Write(state)
}
