// Package bootdisk looks after the disk that the machine boots from: it keeps the
// boot state of an installed one, and installs to one if the configuration asks
// for it.
package bootdisk

import (
	"context"
	"errors"
	"log/slog"
	"os/exec"
	"strings"

	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/slots"
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
		err = keepBootState(disk, log)
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
	return disk.BootState().Write(state)
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
