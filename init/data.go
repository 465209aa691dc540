package main

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"

	"github.com/bulkhead-os/bulkhead/internal/blockdev"
	"github.com/bulkhead-os/bulkhead/internal/disklayout"
	"github.com/bulkhead-os/bulkhead/internal/kmsg"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"golang.org/x/sys/unix"
)

// dataState is what became of the data partition.
type dataState int

const (
	noData      dataState = iota // the state has it all
	dataMounted                  // on layout.DataDir
	dataFailed                   // it is there and cannot be used
)

// dataDirs are directories below those of the state that are on the data
// partition, where there is one.
var dataDirs = []string{layout.UserDataRoot, layout.PreloadDir}

// mountData mounts the partition of user Docker and of people's files: the one
// on the disk of the state.
func mountData(ctx context.Context, b *boot) error {
	if b.stateDevice == nil || b.stateDevice.Disk == "" {
		return nil
	}
	devices, err := b.sys.Devices()
	if err != nil {
		return err
	}
	var found []blockdev.Device
	for _, d := range devices {
		if d.Disk == b.stateDevice.Disk && (d.PartName == disklayout.Data.Name() || d.Info.Label == layout.DataLabel) {
			found = append(found, d)
		}
	}
	if len(found) == 0 {
		return nil
	}
	b.data = dataFailed
	if len(found) > 1 {
		return fmt.Errorf("%s is ambiguous: %s", layout.DataLabel, paths(found))
	}
	if err := b.mountDataDevice(ctx, found[0]); err != nil {
		return err
	}
	b.data = dataMounted
	b.sys.Log(kmsg.Info, fmt.Sprintf("init: people's data is on %v", found[0]))
	return nil
}

func (b *boot) mountDataDevice(ctx context.Context, d blockdev.Device) error {
	if d.Info.Type == "" {
		return fmt.Errorf("%s has no file system that is known", d.Path)
	}
	if err := b.repair(ctx, d); err != nil {
		return err
	}
	b.drivers.filesystem(d.Info.Type)
	if err := b.mount(mount{source: d.Path, target: layout.DataDir, fstype: d.Info.Type, data: reserveOptions(d.Info.Type)}); err != nil {
		return err
	}
	for _, s := range slices.Concat(stateDirs, peoplesDirs) {
		if s.people {
			if err := b.sys.MakeDir(path.Join(layout.DataDir, s.name), s.mode); err != nil {
				return errors.Join(err, b.unmount(layout.DataDir))
			}
		}
	}
	for _, dir := range dataDirs {
		if err := b.sys.MakeDir(path.Join(layout.DataDir, dir), 0o755); err != nil {
			return errors.Join(err, b.unmount(layout.DataDir))
		}
	}
	return nil
}

// bindData puts the directories of the data partition into their places. When it
// cannot be used, user Docker finds a file system that it cannot write to: on the
// state it would begin again with nothing, and fill that up.
func (b *boot) bindData() error {
	if b.data == noData {
		return nil
	}
	for _, dir := range dataDirs {
		if err := b.sys.MakeDir(dir, 0o755); err != nil {
			return err
		}
		m := mount{source: path.Join(layout.DataDir, dir), target: dir, flags: bind}
		if b.data == dataFailed {
			if dir != layout.UserDataRoot {
				continue
			}
			m = mount{source: "tmpfs", target: dir, fstype: "tmpfs", flags: unix.MS_RDONLY, data: "size=4k"}
		}
		if err := b.mount(m); err != nil {
			return err
		}
	}
	return nil
}
