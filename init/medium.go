package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"time"

	"github.com/bulkhead-os/bulkhead/internal/blockdev"
	"github.com/bulkhead-os/bulkhead/internal/disklayout"
	"github.com/bulkhead-os/bulkhead/internal/kmsg"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/os-config/cmdline"
	"golang.org/x/sys/unix"
)

const (
	newRoot   = "/newroot"
	mediumDir = "/medium"
	// imageFile is the system image on a medium.
	imageFile = "/" + layout.RootImage
	// netbootImage is the one in the initramfs of a network boot.
	netbootImage = layout.NetbootDir + imageFile

	// isoLabel is the volume label of our ISO.
	isoLabel = "BULKHEAD"

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
	switch {
	case b.sys.Exists(netbootImage):
	case b.params.Get(layout.SlotParam) != "":
		names = append(names, "fs-ext4")
	default:
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

// A source is where the system image may be: on devices that match one of specs.
type source struct {
	// name is what people call it.
	name  string
	specs []string
	// sealed: the image must be the one that the initramfs knows.
	sealed bool
}

// imageSource says which medium the kernel parameters ask for.
func imageSource(p cmdline.Params) (source, error) {
	switch slot, part := p.Get(layout.SlotParam), p.Get(layout.PartParam); {
	case slot == "":
		return source{name: "label " + isoLabel, specs: []string{"LABEL=" + isoLabel, "PARTLABEL=" + isoLabel}}, nil
	case slot != "a" && slot != "b":
		return source{}, fmt.Errorf("%s=%s: want a or b", layout.SlotParam, slot)
	case part != "":
		return source{name: "PARTUUID=" + part, specs: []string{"PARTUUID=" + part}, sealed: true}, nil
	default:
		name := disklayout.Role(slot).Name()
		return source{name: "partition name " + name, specs: []string{"PARTLABEL=" + name}, sealed: true}, nil
	}
}

// candidates are the devices that can be the source.
func (s source) candidates(devices []blockdev.Device) ([]blockdev.Device, error) {
	var all []blockdev.Device
	for _, spec := range s.specs {
		found, err := blockdev.Match(devices, spec, "/")
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// findImage mounts the system image on newRoot: from the initramfs when it is
// in there, else from the first medium that has one for this kernel.
func findImage(_ context.Context, b *boot) error {
	for _, dir := range []string{newRoot, mediumDir} {
		if err := b.sys.MakeDir(dir, 0o755); err != nil {
			return err
		}
	}
	if b.sys.Exists(netbootImage) {
		return b.mountImage(netbootImage)
	}
	src, err := imageSource(b.params)
	if err != nil {
		return err
	}
	deadline := time.Now().Add(mediumLimit)
	defer b.announceWait(fmt.Sprintf("waiting up to %v for a medium with %s", mediumLimit, src.name))()
	for {
		devices, err := b.sys.Devices()
		if err != nil {
			return err
		}
		var reasons []error
		found, err := src.candidates(devices)
		if err != nil {
			return err
		}
		for _, d := range found {
			err := b.tryMedium(d, src.sealed)
			if err == nil {
				return nil
			}
			if errors.Is(err, errNotOurs) {
				return err // waiting does not make it another one
			}
			reasons = append(reasons, fmt.Errorf("%v: %w", d, err))
		}
		err = b.awaitDevices(deadline)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("no medium with %s after %v: %w", src.name, mediumLimit, errors.Join(append(reasons, seen(devices))...))
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
func (b *boot) tryMedium(d blockdev.Device, sealed bool) error {
	b.drivers.filesystem(d.Info.Type)
	err := b.mount(mount{d.Path, mediumDir, d.Info.Type, unix.MS_RDONLY | nosuid | nodev | noexec, ""})
	if err != nil {
		return err
	}
	file := path.Join(mediumDir, imageFile)
	if sealed {
		err = b.checkSeal(file)
	}
	if err == nil {
		err = b.mountImage(file)
	}
	if err != nil {
		return errors.Join(err, b.unmount(mediumDir))
	}
	b.medium = &d
	b.sys.Log(kmsg.Info, fmt.Sprintf("init: system image is on %v", d))
	return nil
}

// errNotOurs says that the root image is not the one of this initramfs.
var errNotOurs = errors.New("the root image is damaged, or not of this initramfs")

// checkSeal refuses an image that is not the one of this initramfs, or whose
// reads the kernel would not check.
func (b *boot) checkSeal(file string) error {
	want, err := b.sys.ReadFile(layout.RootDigest)
	if err != nil {
		return err
	}
	got, err := b.sys.Verity(file)
	if err != nil {
		return err
	}
	if want = strings.TrimSpace(want); got != want {
		return fmt.Errorf("%w: %s has the digest %s, and this initramfs belongs to %s", errNotOurs, file, got, want)
	}
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
