package main

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/bulkhead-os/bulkhead/internal/blockdev"
	"github.com/bulkhead-os/bulkhead/internal/bootlog"
	"github.com/bulkhead-os/bulkhead/internal/bootstate"
	"github.com/bulkhead-os/bulkhead/internal/disklayout"
	"github.com/bulkhead-os/bulkhead/internal/kmsg"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/os-config/cmdline"
)

// A step is one part of the boot.
type step struct {
	name string
	do   func(ctx context.Context, b *boot) error
	// optional reports whether the boot can go on without the step.
	optional func(b *boot) bool
	// remedy is what a person can do when the step fails.
	remedy string
}

// bootSteps is the whole of early boot, in order. docs/boot.md explains it.
var bootSteps = []step{
	{"kernel-mounts", mountKernel, never, "the kernel or the initramfs is damaged: boot another medium"},
	{"parameters", readParameters, never, "boot with a plain kernel command line"},
	{"drivers", loadDrivers, always, "use kernel and initramfs of one build together"},
	{"image", findImage, never, "attach the Bulkhead medium (ISO label BULKHEAD), or write it again; for a network boot use the initrd that holds the whole system"},
	{"switch-root", switchRoot, never, "the system image is damaged: write the medium again"},
	{"mounts", mountSystem, never, "use kernel, initramfs and system image of one build together"},
	{"nodes", makeNodes, always, "use kernel and system image of one build together; modprobe loads what nobody finds"},
	{"prefetch", prefetch, always, "none needed: the boot takes longer"},
	{"find-state", findState, unlessRequired, "set rancher.state.dev= to one device (UUID= or /dev/…), or rancher.state.wait=true for a slow one"},
	{"format-state", formatState, unlessRequired, "clear the disk's first MiB if nothing on it is needed, or set rancher.state.dev="},
	{"check-state", checkState, unlessRequired, "boot with rancher.recovery=true and repair it with e2fsck -y"},
	{"mount-state", mountState, unlessRequired, "check rancher.state.dev, .fstype and .directory; boot with rancher.recovery=true to look at the disk"},
	{"data", mountData, always, "boot with rancher.recovery=true and repair the file system BULKHEAD_DATA; until then user Docker does not start"},
	{"ram-state", mountRAMState, never, "give the machine more memory"},
	{"oem", mountOEM, always, "set rancher.state.oem_dev= to one device, or to nothing; see rancher.state.oem_fstype"},
	{"recovery", recovery, always, "boot without rancher.recovery"},
	{"bind-state", bindState, never, "boot with rancher.state.dev= (empty) to leave the state disk alone"},
	{"clock", setClock, always, "set it in the firmware, or with date once people can log in"},
	{"host-files", writeHostFiles, never, "give the machine more memory"},
	{"modules", loadExtraModules, always, "correct rancher.modules"},
	{"free-initramfs", freeInitramfs, always, "none needed: some memory stays in use"},
	{"hand-over", handOver, never, "the system image is damaged: write the medium again"},
}

func always(*boot) bool           { return true }
func never(*boot) bool            { return false }
func unlessRequired(b *boot) bool { return !b.state.required }

// A boot is what the steps know and hand on to each other.
type boot struct {
	sys     system
	params  cmdline.Params
	kernel  string    // release, as uname -r
	built   time.Time // when the sources of this build were committed
	drivers *drivers
	// entered is set once the system image is the root.
	entered bool
	// medium is what carries the image; nil when the initramfs does.
	medium *blockdev.Device
	state  stateParams
	// stateDevice is nil when the state is in RAM.
	stateDevice *blockdev.Device
	data        dataState
	// mounted are the targets of what mountAll has mounted.
	mounted map[string]bool
	// started is when the current step began, in seconds since kernel start.
	started float64
}

// run does all steps. A required step that fails leads to rescue, and is
// tried again when rescue returns.
func (b *boot) run(ctx context.Context, steps []step) {
	for i, s := range steps {
		for {
			b.started = bootlog.Now()
			err := b.try(ctx, s)
			b.report(s, i+1, len(steps), err)
			if err == nil || s.optional(b) {
				break
			}
			b.noteTrial(s, err)
			b.rescue(s)
		}
	}
}

// noteTrial writes down, for the other system, why this one does not come up.
func (b *boot) noteTrial(s step, cause error) {
	slot := bootstate.Slot(b.params.Get(layout.SlotParam))
	if slot == bootstate.None {
		return
	}
	devices, err := b.sys.Devices()
	if err == nil {
		err = b.noteTrialOn(devices, slot, fmt.Sprintf("%s: %v", s.name, cause))
	}
	if err != nil {
		b.sys.Log(kmsg.Warning, "init: the boot state does not get the cause: "+err.Error())
	}
}

func (b *boot) noteTrialOn(devices []blockdev.Device, slot bootstate.Slot, cause string) error {
	medium, err := blockdev.Match(devices, "PARTUUID="+b.params.Get(layout.PartParam), "/")
	if err != nil || len(medium) == 0 {
		return err
	}
	for _, d := range devices {
		if d.Disk == medium[0].Disk && d.PartName == disklayout.BootState.Name() {
			return b.sys.NoteTrial(d.Path, slot, cause)
		}
	}
	return nil
}

// try does a step. A bug in it must not end PID 1.
func (b *boot) try(ctx context.Context, s step) (err error) {
	defer func() {
		if r := recover(); r != nil {
			b.sys.Log(kmsg.Error, string(debug.Stack()))
			err = fmt.Errorf("BUG: %v", r)
		}
	}()
	return s.do(ctx, b)
}

// report records how a step ended: for the boot report, in the kernel log, and
// on the consoles when it failed or rancher.debug is on.
func (b *boot) report(s step, i, n int, err error) {
	b.record(s.name, err)
	took := (bootlog.Now() - b.started) * 1000
	if err == nil {
		line := fmt.Sprintf("init: [%d/%d] %s: ok %.0fms", i, n, s.name, took)
		b.sys.Log(kmsg.Info, line)
		if b.params.Bool("rancher.debug") {
			b.sys.Announce("bulkhead: " + line)
		}
		return
	}
	line := kmsg.Failure(s.name, err, s.remedy)
	if s.optional(b) {
		line += " next=\"the boot goes on without it\""
	}
	// Not as an error: with "quiet" the kernel would show it a second time.
	b.sys.Log(kmsg.Warning, line)
	b.sys.Announce(line)
}

// record adds a finished step to the boot report.
func (b *boot) record(name string, err error) {
	b.sys.Record(bootlog.Since("init/"+name, b.started, err))
}
