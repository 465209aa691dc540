package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/bulkhead-os/bulkhead/internal/blockdev"
	"github.com/bulkhead-os/bulkhead/internal/kmsg"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"golang.org/x/sys/unix"
)

// oemLimit is how long to wait for an OEM device that was asked for. One with
// the usual label has appeared, or there is none.
const oemLimit = 10 * time.Second

// mountOEM mounts what the maker of the machine adds to the configuration
// (rancher.state.oem_dev, .oem_fstype). Nobody writes to it.
func mountOEM(_ context.Context, b *boot) error {
	const usual = "LABEL=" + layout.OEMLabel
	spec := usual
	if dev, given := b.params.Lookup("rancher.state.oem_dev"); given {
		spec = dev
	}
	if spec == "" {
		return nil
	}
	device, err := b.findOEM(spec, spec != usual)
	if device == nil || err != nil {
		return err
	}
	fstype := b.params.Get("rancher.state.oem_fstype")
	if fstype == "" || fstype == "auto" {
		fstype = device.Info.Type
	}
	if fstype == "" {
		return fmt.Errorf("unknown file system on %s; set rancher.state.oem_fstype", device.Path)
	}
	b.drivers.filesystem(fstype)
	err = b.mount(mount{source: device.Path, target: layout.OEMDir, fstype: fstype, flags: unix.MS_RDONLY | nosuid | nodev | noexec})
	if err == nil {
		b.sys.Log(kmsg.Info, fmt.Sprintf("init: the maker's configuration is on %v", *device))
	}
	return err
}

// findOEM returns the device, nil when there is none and nobody asked for it.
func (b *boot) findOEM(spec string, asked bool) (*blockdev.Device, error) {
	deadline := time.Now()
	if asked {
		deadline = deadline.Add(oemLimit)
	}
	for {
		devices, err := b.sys.Devices()
		if err != nil {
			return nil, err
		}
		found, err := blockdev.Match(devices, spec, "/")
		switch {
		case err != nil:
			return nil, fmt.Errorf("rancher.state.oem_dev: %w", err)
		case len(found) > 1:
			return nil, fmt.Errorf("%s is ambiguous: %s", spec, paths(found))
		case len(found) == 1:
			return &found[0], nil
		case !asked:
			return nil, nil
		}
		err = b.awaitDevices(deadline)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = fmt.Errorf("no device %s after %v", spec, oemLimit)
		}
		if err != nil {
			return nil, err
		}
	}
}
