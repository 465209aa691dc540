// Package console is the service where people work: it makes the user, writes
// the files and runs the commands of the configuration, and keeps the SSH
// server and the terminals' login prompts running. It decides nothing about
// other services.
package console

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/bulkhead-os/bulkhead/images/console/accounts"
	"github.com/bulkhead-os/bulkhead/images/console/storage"
	"github.com/bulkhead-os/bulkhead/internal/bootlog"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/milestone"
	"github.com/bulkhead-os/bulkhead/internal/oslog"
	"github.com/bulkhead-os/bulkhead/internal/wait"
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
	log := oslog.New("console")
	if err := run(ctx, log); err != nil {
		log.Error("console", "err", err)
		return 1
	}
	return 0
}

// A console is one run of the service.
type console struct {
	log   *slog.Logger
	steps bootlog.Recorder
	cfg   osconfig.Config
	// kernelLine is the kernel command line.
	kernelLine string
	// output is the file for what start commands print.
	output   string
	accounts accounts.Plan
	// failed are mounts to try again.
	failed []storage.Mount
}

// A step prepares the console. A step that fails is reported and does not keep
// people out.
type step struct {
	name string
	do   func(context.Context) error
}

// before are the steps that must come before anyone can log in, in order.
func (c *console) before() []step {
	return []step{
		{"run-files", c.makeRunFiles},
		{"root-dirs", c.openRootDirs},
		{"bootcmd", c.runBootCommands},
		{Kernel, c.applyKernelSettings},
		{Certificates, c.trustCertificates},
		{Storage, c.prepareStorage},
		{Accounts, c.makeAccounts},
		{WriteFiles, c.writeFiles},
		{Environment, c.writeEnvironment},
		{SSH, c.prepareSSH},
	}
}

// background are the steps that nobody needs to wait for, in order.
func (c *console) background() []step {
	return []step{
		{"storage-network", c.finishStorage},
		{"commands", c.runCommands},
		{"final", c.finish},
	}
}

func run(ctx context.Context, log *slog.Logger) error {
	// A file of an earlier run would call the service ready too early.
	if err := milestone.ConsoleReady.Clear(); err != nil {
		return err
	}
	kernelLine, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return err
	}
	cfg := configuration(ctx, log, string(kernelLine))
	if err := limitLogins("/proc/sys/kernel/threads-max"); err != nil {
		log.Warn("logins have no limit of processes", "err", err)
	}
	c := &console{log: log, cfg: cfg, kernelLine: string(kernelLine), output: commandsLog}
	c.steps = bootlog.Recorder{Log: log, File: layout.BootEvents, Phase: "console"}
	c.runSteps(ctx, c.before())

	var tasks sync.WaitGroup
	if cfg.Rancher.SSH.Daemon {
		tasks.Go(func() { c.keep(ctx, task{name: "sshd", argv: []string{"/usr/sbin/sshd", "-D", "-f", sshdConfig}}) })
	}
	_ = c.steps.Run("sshd", func() error { return c.announceReady(ctx) })
	for _, g := range gettys(c.kernelLine, autologin(cfg.Rancher)) {
		tasks.Go(func() { c.keepGetty(ctx, g) })
	}
	tasks.Go(func() { c.followAddress(ctx) })
	tasks.Go(func() { c.followSysctls(ctx) })
	tasks.Go(func() { c.runSteps(ctx, []step{{"kernel-late", c.tellMissing}}) })
	tasks.Go(func() { c.runSteps(ctx, c.background()) })

	<-ctx.Done()
	tasks.Wait()
	return nil
}

// remoteMargin is how long to wait for the configuration beyond
// rancher.cloud_init.timeout. Without that, cloud-init waits up to two minutes
// for the network and 8 s for sources on it.
const remoteMargin = 135 * time.Second

// configuration loads the configuration as soon as cloud-init has read all of
// it. What needs no network has been read before this service starts.
// cloud-init reports the problems.
func configuration(ctx context.Context, log *slog.Logger, kernelLine string) osconfig.Config {
	for {
		complete := milestone.CloudInitDone.Reached()
		cfg, _, err := osconfig.Load("", kernelLine)
		if err != nil {
			log.Error("load the configuration", "err", err)
		}
		if complete {
			return cfg
		}
		limit := remoteMargin + time.Duration(cfg.Rancher.CloudInit.Timeout)*time.Second
		if err := wait.For(ctx, limit, milestone.CloudInitDone, nil); err != nil {
			log.Warn("go on with the configuration read so far", "err", err)
			return cfg
		}
	}
}

// runSteps runs steps one after the other and records each.
func (c *console) runSteps(ctx context.Context, steps []step) {
	for _, s := range steps {
		if err := c.steps.Run(s.name, func() error { return s.do(ctx) }); err != nil {
			c.report(osconfig.Problem{Source: "console", Key: s.name, Text: err.Error()})
		}
	}
}

// report adds a problem to what people are shown when they log in.
func (c *console) report(p osconfig.Problem) {
	if err := conffile.ProblemFile(layout.ConfigProblems).Add(p); err != nil {
		c.log.Warn("report a problem", "err", err)
	}
}

// sshdLimit is how long sshd may take to listen; longer is a mistake in its
// configuration or an address that is not there yet.
const sshdLimit = 20 * time.Second

// announceReady tells the orchestrator that people can log in.
func (c *console) announceReady(ctx context.Context) error {
	port := ""
	if c.cfg.Rancher.SSH.Daemon {
		n := uint16(c.cfg.Rancher.SSH.Port)
		port = strconv.Itoa(int(n))
		if err := wait.For(ctx, sshdLimit, listening{port: n}, nil); err != nil {
			return err
		}
	}
	return milestone.ConsoleReady.Set(port)
}

// check is the health check: sshd listens, if it is to.
func check() int {
	port, err := os.ReadFile(string(milestone.ConsoleReady))
	if err != nil {
		fmt.Println(err)
		return 1
	}
	if len(port) == 0 {
		return 0
	}
	n, err := strconv.ParseUint(string(port), 10, 16)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	if err := (listening{port: uint16(n)}).Check(context.Background()); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}
