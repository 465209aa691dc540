// Package cli is the ros command: what people type to show and control the
// machine. A command reads flags, calls the package that knows, and prints; it
// holds no logic of the OS.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/bulkhead-os/bulkhead/cmd/ros/apply"
	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/slots"
	"github.com/bulkhead-os/bulkhead/internal/version"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
	"github.com/bulkhead-os/bulkhead/os-config/datasource/platform"
	"github.com/bulkhead-os/bulkhead/sysdocker/preload"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// Main runs the ros command of the process.
func Main(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	return machine().run(ctx, args, os.Stdout, os.Stderr)
}

// places are where the commands look, so that tests can look elsewhere.
type places struct {
	bootReport               string
	systemSocket, userSocket string
	mountinfo, meminfo       string
	userTier                 string // its cgroup
	kernel                   kernel
	// configProblems are the mistakes in the configuration of this boot.
	configProblems string
	// networkProblems are what of it has no effect on the machine's hardware.
	networkProblems string
	// userProblems are settings of user Docker that are left out, userFailure is
	// what keeps it from starting.
	userProblems, userFailure string
	// upgradeFailed is why the last upgrade failed.
	upgradeFailed string
	// systems are those on the disk that the machine booted from, if any.
	systems func() ([]slots.System, error)
	// space returns the size of dir's file system and what is free, in bytes.
	space func(dir string) (total, available int64, err error)
	// root is what the files of the configuration lie below; kernelLine
	// holds the kernel's parameters.
	root, kernelLine string
	// records, problems, controlSocket and imageIndex are the orchestrator's.
	records, problems, controlSocket, imageIndex string
	connect                                      func(socket string) (engine, error)
	// unpack is for archives that System Docker loads.
	unpack preload.Opener
	// preloadProblems are what is wrong with archives that are loaded at boot.
	preloadProblems []string
	// download gets what lies at an address.
	download func(ctx context.Context, address string) ([]byte, error)
	// exec turns the process into another program.
	exec func(file string, args []string) error
	// build runs a program whose output people are to see.
	build func(ctx context.Context, args []string) error
	// steps returns what does the steps of ros config apply.
	steps func(since []osconfig.Config, wanted osconfig.Config) func(context.Context, apply.Step) error
}

// engine is the part of a Docker daemon that the commands use.
type engine interface {
	Info(ctx context.Context) (dockerapi.Info, error)
	Containers(ctx context.Context, label string) ([]dockerapi.Container, error)
	Start(ctx context.Context, id string) error
	Stop(ctx context.Context, id string) error
	Restart(ctx context.Context, id string) error
	Kill(ctx context.Context, id string) error
	Rights(ctx context.Context, id string) (rights dockerapi.Rights, pid int, err error)
	Logs(ctx context.Context, id, last string, follow bool, stdout, stderr io.Writer) error
	Image(ctx context.Context, ref string) (dockerapi.Image, error)
	Images(ctx context.Context, label string) ([]dockerapi.Image, error)
	LoadImages(ctx context.Context, archive io.Reader) ([]string, error)
	PullImage(ctx context.Context, ref string, login dockerapi.Login) error
	Close() error
}

// machine returns the places of the running system.
func machine() places {
	return places{
		bootReport:      layout.BootReport,
		systemSocket:    layout.SystemSocket,
		userSocket:      layout.UserSocket,
		mountinfo:       "/proc/self/mountinfo",
		meminfo:         "/proc/meminfo",
		userTier:        "/sys/fs/cgroup" + layout.UserTier,
		kernel:          kernel{proc: "/proc", cgroups: "/sys/fs/cgroup"},
		configProblems:  layout.ConfigProblems,
		networkProblems: layout.NetworkProblems,
		userProblems:    layout.UserProblems,
		userFailure:     layout.UserFailure,
		upgradeFailed:   layout.UpgradeFailed,
		unpack:          preload.Bounded(layout.ConfDir),
		preloadProblems: []string{layout.PreloadProblems + layout.PreloadSystem, layout.PreloadProblems + layout.PreloadUser},
		systems:         systemsOnDisk,
		space:           space,
		kernelLine:      "/proc/cmdline",
		records:         layout.ServiceRecords,
		problems:        layout.ServiceProblems,
		controlSocket:   layout.ControlSocket,
		imageIndex:      layout.ImageIndex,
		connect:         connect,
		exec:            execute,
		build:           runVisibly,
		download:        platform.Download,
		steps:           steps,
	}
}

// connect returns a client. It looks at the socket first, since the client's
// own error about it says neither what is wrong nor what to do.
func connect(socket string) (engine, error) {
	switch err := unix.Access(socket, unix.W_OK); {
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s: %w; put sudo in front of the command", socket, err)
	case err != nil:
		return nil, fmt.Errorf("%s: %w; its daemon does not run", socket, err)
	}
	return dockerapi.New(socket)
}

// usageError is a mistake in the command line.
type usageError struct{ error }

func (p places) run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return exitCode(p.app(stdout, stderr).RunContext(ctx, args), stderr)
}

// exitCode tells an error and returns what the process ends with.
func exitCode(err error, stderr io.Writer) int {
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errSilent):
		return exitFailed
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "ros: %v\nTry: ros --help\n", err)
		return exitUsage
	default:
		fmt.Fprintf(stderr, "ros: %v\n", err)
		return exitFailed
	}
}

// errSilent is a failure about which everything has been said.
var errSilent = errors.New("failed")

func (p places) app(stdout, stderr io.Writer) *cli.App {
	app := &cli.App{
		Name:                 "ros",
		HelpName:             "ros",
		Usage:                "show and control this machine",
		UsageText:            "ros COMMAND [OPTIONS]",
		Description:          "Examples:\n   ros status\n   ros service list\n   sudo ros config set hostname web1\n   ros boot-chart > boot.svg",
		Version:              version.Version,
		Writer:               stdout,
		ErrWriter:            stderr,
		HideHelpCommand:      true,
		EnableBashCompletion: true,
		Action:               group(cli.ShowAppHelp),
		OnUsageError:         onUsageError,
		// Exit codes are run's.
		ExitErrHandler: func(*cli.Context, error) {},
		Commands: []*cli.Command{
			p.statusCommand(),
			p.serviceCommand(),
			p.engineCommand(),
			p.consoleCommand(),
			p.configCommand(),
			p.auditCommand(),
			p.installCommand(),
			p.osCommand(),
			p.bootChartCommand(),
			completionCommand(),
		},
	}
	app.BashComplete = complete(app.Commands, nil)
	strict(app.Commands)
	return app
}

// strict gives every command what makes it refuse what it does not know and
// offer what it knows.
func strict(commands []*cli.Command) {
	for _, c := range commands {
		c.OnUsageError = onUsageError
		c.HideHelpCommand = true
		if c.BashComplete == nil {
			c.BashComplete = complete(c.Subcommands, c.Flags)
		}
		if len(c.Subcommands) > 0 {
			c.Action = group(cli.ShowSubcommandHelp)
			strict(c.Subcommands)
		} else if c.ArgsUsage == "" {
			c.Before = noArguments
		}
	}
}

func onUsageError(_ *cli.Context, err error, _ bool) error { return usageError{err} }

// group returns the action of a command that only has subcommands; help shows
// its help.
func group(help func(*cli.Context) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		word := c.Args().First()
		if word == "" {
			return help(c)
		}
		var known []string
		for _, sub := range c.Command.Subcommands {
			known = append(known, sub.Name)
		}
		return usageError{fmt.Errorf("no command %q; there are %s", word, strings.Join(known, ", "))}
	}
}

func noArguments(c *cli.Context) error {
	if c.Args().Present() {
		return usageError{fmt.Errorf("%s takes no argument %q", c.Command.HelpName, c.Args().First())}
	}
	return nil
}
