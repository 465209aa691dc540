package orchestrator

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

// lookAfterDisk mends the boot state of an installed disk that the machine booted
// from, or installs to one if that is asked for.
func lookAfterDisk(ctx context.Context, log *slog.Logger) {
	disk, err := slots.Booted("/")
	switch {
	case errors.Is(err, slots.ErrNotInstalled):
		installUnattended(ctx, log)
		return
	case err == nil:
		err = keepBootState(disk, log)
	}
	if err != nil {
		log.Error("boot state of the disk", "error", err)
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
	log.Warn("boot state is written anew", "because", why)
	return disk.BootState().Write(state)
}

// installUnattended puts this system onto a disk if the configuration asks for
// it. The command tells the consoles.
func installUnattended(ctx context.Context, log *slog.Logger) {
	// What is wrong with it has been told.
	if cfg, _, _ := osconfig.LoadRunning(); cfg.Rancher.Install.Device == "" {
		return
	}
	out, err := exec.CommandContext(ctx, layout.Root+"/ros/bin/ros", "install", "--unattended").CombinedOutput()
	log.Info("installation", "error", err, "output", strings.TrimSpace(string(out)))
}
