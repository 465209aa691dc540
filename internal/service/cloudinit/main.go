// Package cloudinit is the service that finds out how the machine is to be
// configured: it reads a configuration disk, stores what it holds, checks the
// whole configuration and gives the machine its name. What the configuration
// asks for otherwise is done by the services concerned, most of it by console.
package cloudinit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/bulkhead-os/bulkhead/internal/bootlog"
	"github.com/bulkhead-os/bulkhead/internal/kmsg"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/oslog"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
	"github.com/bulkhead-os/bulkhead/os-config/conffile"
)

// Main runs the service, or with "check" its health check.
func Main(args []string) int {
	if len(args) > 1 && args[1] == "check" {
		return check()
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	log := oslog.New("cloud-init")
	if err := run(ctx, log); err != nil {
		log.Error("configure the machine", "err", err)
		return 1
	}
	// The service stays: its health tells whether the configuration took.
	debug.FreeOSMemory()
	<-ctx.Done()
	return 0
}

// run does all the work. Mistakes in the configuration are no error.
func run(ctx context.Context, log *slog.Logger) error {
	kernelLine, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return err
	}
	var problems []osconfig.Problem
	step(log, "cloud-init/config-disk", func() error {
		found, err := readDisk(ctx, log, waitFor(string(kernelLine)))
		problems = append(problems, found...)
		return err
	})

	start := bootlog.Now()
	cfg, found, err := osconfig.Load("", string(kernelLine))
	if err != nil {
		problems = append(problems, osconfig.Problem{Source: layout.ConfDir, Text: err.Error()})
	}
	record(log, bootlog.Since("cloud-init/load", start, err))
	problems = append(problems, found...)

	step(log, "cloud-init/hostname", func() error { return setHostname(cfg.Hostname) })
	if err := publish(log, problems); err != nil {
		return err
	}
	if err := os.WriteFile(layout.CloudInitDone, nil, 0o644); err != nil {
		return err
	}
	// Nobody waits for this.
	if err := conffile.RememberGood(""); err != nil {
		log.Error("keep copies of the configuration", "err", err)
	}
	return nil
}

// waitFor returns how long the kernel line asks to wait for a configuration
// disk. No other source can ask: they may lie on that disk.
func waitFor(kernelLine string) time.Duration {
	return time.Duration(osconfig.FromKernelLine(kernelLine).Rancher.CloudInit.Wait) * time.Second
}

// step runs one part of the boot and records it. Its failure stops nothing: a
// machine without its configuration must still be reachable.
func step(log *slog.Logger, name string, do func() error) {
	start := bootlog.Now()
	err := do()
	if err != nil {
		log.Error(name, "err", err)
	}
	record(log, bootlog.Since(name, start, err))
}

func record(log *slog.Logger, s bootlog.Step) {
	if err := bootlog.Append(layout.BootEvents, s); err != nil {
		log.Warn("record boot step", "step", s.Name, "err", err)
	}
}

// shownProblems is how many problems the consoles show.
const shownProblems = 10

// publish tells the problems to the log and to whoever logs in, and mistakes
// to the consoles too.
func publish(log *slog.Logger, problems []osconfig.Problem) error {
	if len(problems) == 0 {
		if err := os.Remove(layout.ConfigProblems); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	var text strings.Builder
	shown := 0
	for _, p := range problems {
		fmt.Fprintln(&text, p)
		log.Warn("configuration", "problem", p.String())
		if p.Severity != osconfig.Error {
			continue
		}
		switch shown++; {
		case shown <= shownProblems:
			announce(log, "bulkhead: configuration: "+p.String())
		case shown == shownProblems+1:
			announce(log, "bulkhead: configuration: more in "+layout.ConfigProblems)
		}
	}
	return os.WriteFile(layout.ConfigProblems, []byte(text.String()), 0o644)
}

func announce(log *slog.Logger, line string) {
	if err := kmsg.Announce(line); err != nil {
		log.Warn("announce", "err", err)
	}
}

// check is the health check: the configuration has been read and has no
// mistakes; warnings are none. `system-docker inspect` keeps what it prints.
func check() int {
	if _, err := os.Stat(layout.CloudInitDone); err != nil {
		fmt.Println("the configuration has not been read")
		return 1
	}
	text, err := os.ReadFile(layout.ConfigProblems)
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	var mistakes strings.Builder
	for line := range strings.Lines(string(text)) {
		if !osconfig.IsWarning(line) {
			mistakes.WriteString(line)
		}
	}
	if mistakes.Len() == 0 {
		return 0
	}
	fmt.Printf("mistakes in the configuration:\n%s", mistakes.String())
	return 1
}
