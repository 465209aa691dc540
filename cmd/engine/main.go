// Command engine is Docker in one binary: the system tier's PID 1, the stock
// daemons, the command line and its plugins, told apart by the name it is
// called by. They share most of their code: together they are a third smaller
// than apart, on the medium and in the page cache.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/moby/moby/v2/daemon/command"
	"github.com/moby/sys/reexec"

	"github.com/bulkhead-os/bulkhead/cmd/engine/dockercli"
	"github.com/bulkhead-os/bulkhead/cmd/engine/plugins"
	"github.com/bulkhead-os/bulkhead/internal/idle"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/sysdocker/pid1"
)

func main() {
	// The daemon runs itself under other names for work in a namespace of
	// its own ("docker-untar", "libnetwork-setkey", …).
	if reexec.Init() {
		return
	}
	os.Exit(run(filepath.Base(os.Args[0])))
}

func run(name string) int {
	switch name {
	case layout.SystemInit:
		return pid1.Main()
	case "dockerd":
		return dockerd()
	case "containerd":
		return containerd()
	case "system-docker":
		return dockercli.System()
	case plugins.ComposeName:
		return plugins.Compose()
	case plugins.BuildxName:
		return plugins.Buildx()
	default:
		return dockercli.Main()
	}
}

// dockerd is the stock daemon.
func dockerd() int {
	// A pipe to a log collector that breaks must not end the daemon.
	signal.Ignore(syscall.SIGPIPE)
	ctx := context.Background()
	go idle.Trim(ctx)
	r, err := command.NewDaemonRunner(os.Stdout, os.Stderr)
	if err == nil {
		err = r.Run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
