// Command ros is the OS command and, under other names, every program of ours
// that runs after the hand-over to PID 1. One file on the medium and one copy
// in the page cache serve them all.
package main

import (
	"os"
	"path/filepath"

	"github.com/bulkhead-os/bulkhead/cmd/ros/cli"
	"github.com/bulkhead-os/bulkhead/cmd/ros/health"
	"github.com/bulkhead-os/bulkhead/cmd/ros/poweroff"
	cloudinit "github.com/bulkhead-os/bulkhead/images/cloud-init"
	"github.com/bulkhead-os/bulkhead/images/console"
	"github.com/bulkhead-os/bulkhead/images/network"
	exporter "github.com/bulkhead-os/bulkhead/images/node-exporter"
	"github.com/bulkhead-os/bulkhead/sysdocker/orchestrator"
	"github.com/bulkhead-os/bulkhead/sysdocker/preload"
	"github.com/bulkhead-os/bulkhead/userdocker"
)

// programs maps the name the binary was called by to what it does. Each gets
// os.Args and returns the exit code. images/ros/layer.yml has a link for each.
var programs = map[string]func(args []string) int{
	"ros":                 cli.Main,
	"orchestrator":        orchestrator.Main,
	preload.UnpackProgram: preload.UnpackMain,
	"cloud-init":          cloudinit.Main,
	"console":             console.Main,
	"network":             network.Main,
	"network-hook":        network.HookMain,
	"node-exporter":       exporter.Main,
	"user-docker":         userdocker.Main,
	"health":              health.Main,
	"halt":                poweroff.Main,
	"poweroff":            poweroff.Main,
	"reboot":              poweroff.Main,
	"shutdown":            poweroff.Main,
}

func main() {
	run, ok := programs[filepath.Base(os.Args[0])]
	if !ok {
		run = cli.Main
	}
	os.Exit(run(os.Args))
}
