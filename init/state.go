package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bulkhead-os/bulkhead/internal/blockdev"
	"github.com/bulkhead-os/bulkhead/internal/disklayout"
	"github.com/bulkhead-os/bulkhead/internal/gpt"
	"github.com/bulkhead-os/bulkhead/internal/kmsg"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/partition"
	"github.com/bulkhead-os/bulkhead/os-config/cmdline"
	"golang.org/x/sys/unix"
)

// stateParams are the kernel parameters rancher.state.*.
type stateParams struct {
	// dev is LABEL=, UUID=, PARTLABEL= or a path; empty for none (RAM).
	dev string
	// fstype is empty for what is found on the device.
	fstype string
	// directory is the state's root on the device, for sharing a disk.
	directory string
	// wait: the device is slow. required: no boot without it.
	wait, required bool
	// autoformat are devices to make the state partition on when they are blank.
	autoformat []string
}

func newStateParams(p cmdline.Params) stateParams {
	s := stateParams{
		dev:        "LABEL=" + layout.StateLabel,
		fstype:     p.Get("rancher.state.fstype"),
		directory:  path.Clean("/" + p.Get("rancher.state.directory")),
		wait:       p.Bool("rancher.state.wait"),
		required:   p.Bool("rancher.state.required"),
		autoformat: p.List("rancher.state.autoformat"),
	}
	if dev, given := p.Lookup("rancher.state.dev"); given {
		s.dev = dev
	}
	if s.fstype == "auto" {
		s.fstype = ""
	}
	return s
}

// limit is how long to wait for the state device. Loading a driver waits for
// its disks, except where a bus finds them later (USB, Hyper-V, SD cards).
func (s stateParams) limit() time.Duration {
	switch {
	case s.wait:
		return 60 * time.Second
	case s.required || !s.isDefault():
		return 10 * time.Second
	}
	return 100 * time.Millisecond
}

// fstypeOn is the type to mount a device with.
func (s stateParams) fstypeOn(d blockdev.Device) string {
	if s.fstype != "" {
		return s.fstype
	}
	return d.Info.Type
}

// isDefault reports whether no one asked for a certain device: then its absence
// is no failure.
func (s stateParams) isDefault() bool { return s.dev == "LABEL="+layout.StateLabel }

// settleTime is how long no device may have appeared before a blank disk is
// formatted: the state partition may be on a slower one.
const settleTime = time.Second

// findState looks for the state device. That none is there is an error only
// when one was asked for.
func findState(_ context.Context, b *boot) error {
	if b.state.dev == "" {
		return nil
	}
	limit := b.state.limit()
	deadline := time.Now().Add(limit)
	defer b.announceWait(fmt.Sprintf("waiting up to %v for the state device %s", limit, b.state.dev))()
	for {
		devices, err := b.sys.Devices()
		if err != nil {
			return err
		}
		found, err := blockdev.Match(devices, b.state.dev, "/")
		if err != nil {
			return fmt.Errorf("rancher.state.dev: %w", err)
		}
		if len(found) > 1 {
			found = b.preferBootDisk(found)
		}
		if len(found) > 1 {
			return fmt.Errorf("%s is ambiguous: %s", b.state.dev, paths(found))
		}
		if len(found) == 1 {
			b.stateDevice = &found[0]
			// While it is checked.
			go b.drivers.filesystem(b.state.fstypeOn(found[0]))
			return nil
		}
		if len(b.state.autoformat) > 0 && len(b.formattable(devices)) > 0 {
			return nil
		}
		err = b.awaitDevices(deadline)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			return err
		}
	}
	if b.state.required || !b.state.isDefault() {
		return fmt.Errorf("no device %s after %v", b.state.dev, limit)
	}
	return nil
}

// preferBootDisk picks those on the disk that this boot came from, if there are
// any: a second installed disk must not keep a machine from its own state.
func (b *boot) preferBootDisk(devices []blockdev.Device) []blockdev.Device {
	var own []blockdev.Device
	for _, d := range devices {
		if b.medium != nil && d.Disk != "" && d.Disk == b.medium.Disk {
			own = append(own, d)
		}
	}
	if len(own) == 0 {
		return devices
	}
	return own
}

func paths(devices []blockdev.Device) string {
	var names []string
	for _, d := range devices {
		names = append(names, d.Path)
	}
	return strings.Join(names, ", ")
}

// formattable returns the autoformat devices that exist, in their order,
// without the medium this boot came from.
func (b *boot) formattable(devices []blockdev.Device) []blockdev.Device {
	var list []blockdev.Device
	for _, spec := range b.state.autoformat {
		// What is misspelt or missing is skipped: the list is of candidates.
		if found, err := blockdev.Match(devices, spec, "/"); err == nil {
			list = append(list, found...)
		}
	}
	return slices.DeleteFunc(list, func(d blockdev.Device) bool {
		return b.medium != nil && (d.Name == b.medium.Name || d.Name == b.medium.Disk)
	})
}

// formatState makes a state partition on the first blank autoformat device
// when there is none.
func formatState(ctx context.Context, b *boot) error {
	if b.stateDevice != nil || b.state.dev == "" || len(b.state.autoformat) == 0 {
		return nil
	}
	for {
		err := b.awaitDevices(time.Now().Add(settleTime))
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			return err
		}
	}
	devices, err := b.sys.Devices()
	if err != nil {
		return err
	}
	if found, err := blockdev.Match(devices, b.state.dev, "/"); err == nil && len(found) > 0 {
		return findState(ctx, b)
	}
	var reasons []error
	for _, d := range b.formattable(devices) {
		if err := b.checkBlank(d, devices); err != nil {
			reasons = append(reasons, fmt.Errorf("%s %w", d.Path, err))
			continue
		}
		return b.format(ctx, d)
	}
	if len(reasons) > 0 {
		return fmt.Errorf("nothing formatted: %w", errors.Join(reasons...))
	}
	return nil
}

// blankSize is how much of a disk must be zero to count as blank: RancherOS's rule.
const blankSize = 1 << 20

// checkBlank returns why a device must not be formatted.
func (b *boot) checkBlank(d blockdev.Device, all []blockdev.Device) error {
	if d.ReadOnly {
		return errors.New("is write-protected")
	}
	if slices.ContainsFunc(all, func(part blockdev.Device) bool { return part.Disk == d.Name }) {
		return errors.New("has partitions")
	}
	f, err := b.sys.OpenDevice(d.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	return blockdev.CheckBlank(f, blankSize)
}

// mkfsLimit and fsckLimit bound the programs that may take long on big or
// slow disks.
const (
	mkfsLimit = 10 * time.Minute
	fsckLimit = 2 * time.Hour
)

// format makes the state's file system on a blank disk. A disk with room for both
// also gets a partition for people's data, so that they cannot fill the state. The
// table is written last: until then the disk is blank.
func (b *boot) format(ctx context.Context, d blockdev.Device) error {
	ctx, cancel := context.WithTimeout(ctx, mkfsLimit)
	defer cancel()
	state := d
	parts, err := disklayout.PlanState(d.Size, d.Sector)
	if err != nil || d.Disk != "" {
		b.sys.Announce(fmt.Sprintf("bulkhead: formatting %s (%d MiB, blank) as %s", d.Path, d.Size>>20, layout.StateLabel))
		if err := b.makeFS(ctx, disklayout.Partition{Role: disklayout.State}, d.Path); err != nil {
			return err
		}
	} else {
		b.sys.Announce(fmt.Sprintf("bulkhead: formatting %s (%d MiB, blank) as %s and %s", d.Path, d.Size>>20, layout.StateLabel, layout.DataLabel))
		if err := b.divide(ctx, d, parts); err != nil {
			return err
		}
		state.Path = partition.Path(d.Path, strconv.Itoa(parts[0].Number))
		state.Name, state.Disk, state.Size, state.PartName = path.Base(state.Path), d.Name, parts[0].Size, parts[0].Role.Name()
	}
	state.Info = blockdev.Info{Type: "ext4", Label: layout.StateLabel}
	b.stateDevice = &state
	return nil
}

func (b *boot) divide(ctx context.Context, d blockdev.Device, parts []disklayout.Partition) error {
	for _, p := range parts {
		if err := b.sys.AddPartition(d.Path, p); err != nil {
			return fmt.Errorf("add partition %d to %s: %w", p.Number, d.Path, err)
		}
		if err := b.makeFS(ctx, p, partition.Path(d.Path, strconv.Itoa(p.Number))); err != nil {
			return err
		}
	}
	if err := b.sys.WritePartitionTable(d.Path, disklayout.Table(parts, d.Size, d.Sector, gpt.NewGUID)); err != nil {
		return fmt.Errorf("partition table of %s: %w", d.Path, err)
	}
	return nil
}

func (b *boot) makeFS(ctx context.Context, p disklayout.Partition, device string) error {
	status, out, err := b.sys.Run(ctx, append([]string{"/sbin/mkfs.ext4"}, p.MakeFS(device)...)...)
	if err == nil && status != 0 {
		err = fmt.Errorf("exit status %d: %s", status, out)
	}
	if err != nil {
		return fmt.Errorf("mkfs.ext4 %s: %w", device, err)
	}
	return nil
}

func checkState(ctx context.Context, b *boot) error {
	if b.stateDevice == nil {
		return nil
	}
	if err := b.repair(ctx, *b.stateDevice); err != nil {
		return b.withoutState(err)
	}
	return nil
}

// repair repairs an ext file system as far as that needs no decision. The other
// file systems repair themselves when they are mounted.
func (b *boot) repair(ctx context.Context, d blockdev.Device) error {
	if !strings.HasPrefix(d.Info.Type, "ext") {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, fsckLimit)
	defer cancel()
	defer b.announceWait(fmt.Sprintf("checking the file system on %s, this can take minutes", d.Path))()
	status, out, err := b.sys.Run(ctx, "/sbin/e2fsck", "-p", d.Path)
	// e2fsck(8): 1 is errors corrected, 2 is "reboot", meant for a mounted
	// file system; 4 and above are errors left.
	if err == nil && status >= 4 {
		err = fmt.Errorf("exit status %d: %s", status, out)
	}
	if err != nil {
		return fmt.Errorf("e2fsck -p %s: %w", d.Path, err)
	}
	if status != 0 {
		b.sys.Log(kmsg.Warning, fmt.Sprintf("init: e2fsck repaired %s: %s", d.Path, out))
	}
	return nil
}

// withoutState lets the boot go on with its state in RAM after an error. When
// the state is required, the step is tried again with the same device.
func (b *boot) withoutState(err error) error {
	if !b.state.required {
		b.stateDevice = nil
	}
	return err
}

// stateDiskDir is where the device is mounted when its root is not the state's.
const stateDiskDir = layout.RunDir + "/state-disk"

func mountState(_ context.Context, b *boot) error {
	if b.stateDevice == nil {
		return nil
	}
	if err := b.mountStateDevice(*b.stateDevice); err != nil {
		return b.withoutState(err)
	}
	b.sys.Log(kmsg.Info, fmt.Sprintf("init: state is on %v", *b.stateDevice))
	return nil
}

func (b *boot) mountStateDevice(d blockdev.Device) error {
	fstype := b.state.fstypeOn(d)
	if fstype == "" {
		return fmt.Errorf("unknown file system on %s; set rancher.state.fstype", d.Path)
	}
	b.drivers.filesystem(fstype)
	target := layout.StateDir
	if b.state.directory != "/" {
		target = stateDiskDir
		if err := b.sys.MakeDir(target, 0o700); err != nil {
			return err
		}
	}
	if err := b.mount(mount{source: d.Path, target: target, fstype: fstype, data: reserveOptions(fstype)}); err != nil {
		return err
	}
	if err := b.prepareState(target); err != nil {
		return errors.Join(err, b.unmount(target))
	}
	return nil
}

// reserveOptions keep what an ext file system reserves from the root of a
// container: it is for daemons with CAP_SYS_RESOURCE, such as user Docker, and
// for OS services, which have the group.
func reserveOptions(fstype string) string {
	if !strings.HasPrefix(fstype, "ext") {
		return ""
	}
	return fmt.Sprintf("resuid=%d,resgid=%[1]d", layout.ReserveID)
}

// prepareState makes the state's directories on the file system that is
// mounted on target, and that appear on layout.StateDir.
func (b *boot) prepareState(target string) error {
	root := path.Join(target, b.state.directory)
	for _, d := range slices.Concat(stateDirs, peoplesDirs) {
		if err := b.sys.MakeDir(path.Join(root, d.name), d.mode); err != nil {
			return err
		}
	}
	// It holds passwords and keys.
	if err := b.sys.MakeDir(path.Join(root, layout.ConfDir), 0o700); err != nil {
		return err
	}
	if root == layout.StateDir {
		return nil
	}
	return b.mount(mount{source: root, target: layout.StateDir, flags: bind})
}

// mountRAMState puts the state into RAM when it is nowhere else.
func mountRAMState(_ context.Context, b *boot) error {
	if b.stateDevice != nil {
		return nil
	}
	b.sys.Log(kmsg.Notice, "init: state is in RAM: it is gone after this boot")
	if err := b.mount(mount{"tmpfs", layout.StateDir, "tmpfs", unix.MS_NOATIME, "mode=0755,size=50%"}); err != nil {
		return err
	}
	b.state.directory = "/"
	return b.prepareState(layout.StateDir)
}
