// Package bootdisk looks after the disk that the machine boots from: it keeps the
// boot state of an installed one, and installs to one if the configuration asks
// for it.
package bootdisk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/bulkhead-os/bulkhead/internal/bootstate"
	"github.com/bulkhead-os/bulkhead/internal/kmsg"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/slots"
	"github.com/bulkhead-os/bulkhead/internal/version"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

// Run repairs the boot state of an installed disk that the machine booted from,
// or installs to one if the configuration asks for it.
func Run(ctx context.Context, log *slog.Logger) {
	disk, err := slots.Booted("/")
	switch {
	case errors.Is(err, slots.ErrNotInstalled):
		installUnattended(ctx, log)
		return
	case err == nil:
		err = errors.Join(keepBootState(disk, log), tellFailure())
	}
	if err != nil {
		log.Error("boot state of the disk", "err", err)
	}
}

func keepBootState(disk slots.Disk, log *slog.Logger) error {
	blocks, err := disk.BootState().Read()
	if err != nil {
		return err
	}
	state, why := blocks.Upkeep(disk.Running)
	if state.Good != disk.Running && state.Try != disk.Running {
		log.Warn("the other system runs, not the good one", "slot", disk.Running, "good", state.Good)
	}
	if why == "" {
		return nil
	}
	log.Warn("boot state rewritten", "because", why)
	// Whatever cannot be written down: the trial is over.
	before, _ := blocks.Read()
	if before.OnTrial(disk.Running.Other()) {
		err = noteFailure(disk, before, why)
	}
	return errors.Join(err, disk.BootState().Write(state))
}

// mountDir is where the other slot is mounted.
const mountDir = layout.RunDir + "/other-slot"

// noteFailure adds to the history that the other system's trial failed.
func noteFailure(disk slots.Disk, state bootstate.State, cause string) error {
	_ = kmsg.Announce("bulkhead: upgrade: failed, the previous system runs: " + cause)
	// One that cannot be read has no version.
	r, _ := disk.Release(state.Try, mountDir)
	return slots.History(layout.Upgrades).Add(slots.Event{
		Time: time.Now(), Outcome: slots.Failed, Slot: state.Try, Version: r.Version, From: version.Version, Trial: state.ID, Cause: cause,
	})
}

// tellFailure leaves word for who logs in, as long as an upgrade that failed is the
// last that happened.
func tellFailure() error {
	last, err := slots.History(layout.Upgrades).Last()
	if err != nil || last.Outcome != slots.Failed {
		return err
	}
	text := fmt.Sprintf("%s, at %s: %s\n", last.Version, last.Time.Format(time.DateTime), last.Cause)
	return os.WriteFile(layout.UpgradeFailed, []byte(text), 0o644)
}

// installUnattended puts this system onto a disk if the configuration asks for
// it. The command reports on the consoles.
func installUnattended(ctx context.Context, log *slog.Logger) {
	// Problems of the configuration are reported by cloud-init.
	if cfg, _, _ := osconfig.LoadRunning(); cfg.Rancher.Install.Device == "" {
		return
	}
	out, err := exec.CommandContext(ctx, layout.Root+"/ros/bin/ros", "install", "--unattended").CombinedOutput()
	log.Info("installation", "err", err, "output", strings.TrimSpace(string(out)))
}
