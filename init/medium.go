package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/bulkhead-os/bulkhead/internal/blockdev"
	"github.com/bulkhead-os/bulkhead/internal/kmsg"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"golang.org/x/sys/unix"
)

const (
	newRoot   = "/newroot"
	mediumDir = "/medium"
	// imageFile is the system image in the initramfs (network boot) and on
	// an ISO.
	imageFile = "/bulkhead/root.erofs"

	// isoLabel is the volume label of our ISO, slotLabel that of the
	// partition with the two system slots of an installed disk.
	isoLabel  = "BULKHEAD"
	slotLabel = "BULKHEAD_BOOT"

	// mediumLimit is how long the boot medium may take to appear: USB hubs,
	// card readers and drives that spin up need up to half a minute.
	mediumLimit = 60 * time.Second
)

// loadDrivers loads the drivers of all devices that are there, and beside them,
// since there is more than one processor, what the image will need.
func loadDrivers(_ context.Context, b *boot) error {
	// Subscribe first: what appears after the look at /sys is an event.
	if err := b.sys.Subscribe(); err != nil {
		return err
	}
	var err error
	if b.drivers, err = readDrivers(b.sys, path.Join("/lib/modules", b.kernel)); err != nil {
		return err
	}
	aliases, err := b.sys.Modaliases()
	if err != nil {
		return err
	}
	names := append(b.params.List("rancher.modules"), "fs-erofs", "loop", "crc32c")
	if !b.sys.Exists(imageFile) {
		names = append(names, "fs-iso9660")
	}
	b.drivers.driveAll(append(names, aliases...))
	return nil
}

// awaitDevices waits for the next block device to appear or change, and loads
// the drivers of all devices that appear meanwhile.
func (b *boot) awaitDevices(deadline time.Time) error {
	blockEvent := false
	for {
		until := deadline
		if blockEvent {
			// Take in what else is there; then look.
			until = time.Now()
		}
		e, err := b.sys.NextEvent(until)
		switch {
		case blockEvent && errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case errors.Is(err, unix.ENOBUFS):
			// Events were lost: look at everything again.
			if err := loadDrivers(context.Background(), b); err != nil {
				return err
			}
			blockEvent = true
		case err != nil:
			return err
		}
		if e.Modalias != "" && e.Action != "remove" {
			b.drivers.drive(e.Modalias)
		}
		blockEvent = blockEvent || e.Subsystem == "block"
	}
}

// announceWait says on the consoles what the boot waits for when that takes
// longer than a person likes to look at a silent screen. The function that it
// returns ends the wait.
func (b *boot) announceWait(msg string) (stop func()) {
	t := time.AfterFunc(5*time.Second, func() { b.sys.Announce("bulkhead: " + msg) })
	return func() { t.Stop() }
}

// A source is where the system image may be: on devices with this label or
// partition name, in this file.
type source struct{ label, file string }

// imageSource says which medium the kernel parameter bulkhead.slot asks for.
func imageSource(slot string) (source, error) {
	switch slot {
	case "":
		return source{isoLabel, imageFile}, nil
	case "a", "b":
		return source{slotLabel, path.Join("/bulkhead", slot, path.Base(imageFile))}, nil
	}
	return source{}, fmt.Errorf("bulkhead.slot=%s: want a or b", slot)
}

// candidates are the devices that can be the source.
func (s source) candidates(devices []blockdev.Device) []blockdev.Device {
	return slices.DeleteFunc(slices.Clone(devices), func(d blockdev.Device) bool {
		return d.Info.Label != s.label && d.PartName != s.label
	})
}

// findImage mounts the system image on newRoot: from the initramfs when it is
// in there, else from the first medium that has one for this kernel.
func findImage(_ context.Context, b *boot) error {
	for _, dir := range []string{newRoot, mediumDir} {
		if err := b.sys.MakeDir(dir, 0o755); err != nil {
			return err
		}
	}
	if b.sys.Exists(imageFile) {
		return b.mountImage(imageFile)
	}
	src, err := imageSource(b.params.Get("bulkhead.slot"))
	if err != nil {
		return err
	}
	deadline := time.Now().Add(mediumLimit)
	defer b.announceWait(fmt.Sprintf("waiting up to %v for a medium with label %s", mediumLimit, src.label))()
	for {
		devices, err := b.sys.Devices()
		if err != nil {
			return err
		}
		var reasons []error
		for _, d := range src.candidates(devices) {
			err := b.tryMedium(d, src.file)
			if err == nil {
				return nil
			}
			reasons = append(reasons, fmt.Errorf("%v: %w", d, err))
		}
		err = b.awaitDevices(deadline)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("no medium with label %s after %v: %w", src.label, mediumLimit, errors.Join(append(reasons, seen(devices))...))
		}
		if err != nil {
			return err
		}
	}
}

// seen lists the devices for an error message.
func seen(devices []blockdev.Device) error {
	if len(devices) == 0 {
		return errors.New("no block device was found: a driver may be missing")
	}
	var names []string
	for _, d := range devices {
		names = append(names, d.String())
	}
	return errors.New("found only " + strings.Join(names, ", "))
}

// tryMedium mounts a medium and the system image on it, or neither.
func (b *boot) tryMedium(d blockdev.Device, file string) error {
	b.drivers.filesystem(d.Info.Type)
	err := b.mount(mount{d.Path, mediumDir, d.Info.Type, unix.MS_RDONLY | nosuid | nodev | noexec, ""})
	if err != nil {
		return err
	}
	if err := b.mountImage(path.Join(mediumDir, file)); err != nil {
		return errors.Join(err, b.unmount(mediumDir))
	}
	b.medium = &d
	b.sys.Log(kmsg.Info, fmt.Sprintf("init: system image is on %v", d))
	return nil
}

// mountImage mounts the system image in file, if it fits the running kernel.
func (b *boot) mountImage(file string) error {
	if !b.sys.Exists(file) {
		return fmt.Errorf("no system image: %s does not exist", file)
	}
	b.drivers.filesystem("erofs")
	m := mount{file, newRoot, "erofs", unix.MS_RDONLY, ""}
	if err := b.mount(m); err != nil {
		// A file on tmpfs, such as the initramfs, cannot back EROFS.
		var loopErr error
		if m.source, loopErr = b.attachLoop(file); loopErr != nil {
			return errors.Join(err, loopErr)
		}
		if err := b.mount(m); err != nil {
			return err
		}
	}
	if modules := path.Join(newRoot, layout.ModulesDir, b.kernel); !b.sys.Exists(modules) {
		err := fmt.Errorf("the system image is for another kernel than the running one, %s", b.kernel)
		return errors.Join(err, b.unmount(newRoot))
	}
	return nil
}

// attachLoop makes a block device of an image.
func (b *boot) attachLoop(file string) (string, error) {
	if err := b.drivers.load("loop"); err != nil {
		return "", err
	}
	return b.sys.AttachLoop(file)
}
