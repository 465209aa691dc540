package orchestrator

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"strings"

	"github.com/bulkhead-os/bulkhead/internal/layout"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
	"github.com/bulkhead-os/bulkhead/os-config/cmdline"
)

// installUnattended puts this system onto a disk if the configuration asks for
// it and the system is not an installed one. The command tells the consoles.
func installUnattended(ctx context.Context, log *slog.Logger) {
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil || cmdline.Parse(string(line)).Get("bulkhead.slot") != "" {
		return
	}
	// What is wrong with it has been told.
	if cfg, _, _ := osconfig.LoadRunning(); cfg.Rancher.Install.Device == "" {
		return
	}
	out, err := exec.CommandContext(ctx, layout.Root+"/ros/bin/ros", "install", "--unattended").CombinedOutput()
	log.Info("installation", "error", err, "output", strings.TrimSpace(string(out)))
}
