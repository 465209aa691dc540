// Package cloudinit is the service that finds out how to configure the
// machine: it looks for user data on disks, in the firmware and, where there
// is a reason to, on the network, stores what it finds, checks the whole
// configuration and gives the machine its name. What the configuration asks
// for otherwise is done by the services concerned, most of it by console.
package cloudinit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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
	"github.com/bulkhead-os/bulkhead/internal/milestone"
	"github.com/bulkhead-os/bulkhead/internal/oslog"
	"github.com/bulkhead-os/bulkhead/internal/vmguest"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
	"github.com/bulkhead-os/bulkhead/os-config/conffile"
	"github.com/bulkhead-os/bulkhead/os-config/datasource/platform"
)

// Main runs the service, or with "check" its health check.
func Main(args []string) int {
	if len(args) > 1 && args[1] == "check" {
		return check()
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	s := &service{log: oslog.New("cloud-init")}
	s.steps = bootlog.Recorder{Log: s.log, File: layout.BootEvents, Phase: "cloud-init"}
	if err := s.run(ctx); err != nil {
		s.log.Error("configure the machine", "err", err)
		return 1
	}
	// The service stays: its health reports whether the configuration took.
	debug.FreeOSMemory()
	<-ctx.Done()
	return 0
}

// A service is one run.
type service struct {
	log        *slog.Logger
	steps      bootlog.Recorder
	kernelLine string
	sources    []platform.Source
	timeout    time.Duration
	local      platform.Answer
	// later are the sources to ask once there is a network, and includes
	// says that the local source's user data needs it.
	later    []platform.Source
	includes bool
	problems []osconfig.Problem
}

// run does all the work. Mistakes in the configuration are no error.
func (s *service) run(ctx context.Context) error {
	kernelLine, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return err
	}
	s.kernelLine = string(kernelLine)
	s.chooseSources()
	_ = s.steps.Run("local", func() error { return s.readLocal(ctx) })
	found := s.apply()
	if err := milestone.CloudInitLocal.Set(""); err != nil {
		return err
	}
	if err := dropCapabilities(); err != nil {
		s.complain("cloud-init", fmt.Errorf("nothing is asked over the network: %w", err))
		s.later, s.includes = nil, false
	}
	if len(s.later) > 0 || s.includes {
		err := s.steps.Run("await-network", func() error { return awaitNetwork(ctx, s.log) })
		_ = s.steps.Run("network", func() error { return s.readRemote(ctx, err) })
		found = s.apply()
	}
	s.problems = append(s.problems, found...)
	if err := s.publish(); err != nil {
		return err
	}
	s.record()
	if err := milestone.CloudInitDone.Set(""); err != nil {
		return err
	}
	// Nobody waits for this.
	if err := conffile.RememberGood(""); err != nil {
		s.log.Error("keep copies of the configuration", "err", err)
	}
	return nil
}

// usualTimeout is how long sources on the network have to answer. With what
// follows, a boot without an answer is not 10 s longer.
const usualTimeout = 8 * time.Second

// chooseSources decides where to look.
func (s *service) chooseSources() {
	cfg, _, err := osconfig.Load("", s.kernelLine)
	if err != nil {
		s.complain(layout.ConfDir, err)
	}
	s.timeout = cmp.Or(time.Duration(cfg.Rancher.CloudInit.Timeout)*time.Second, usualTimeout)
	var configured []string
	for _, item := range cfg.Rancher.CloudInit.Datasources {
		configured = append(configured, string(item))
	}
	s.sources, err = platform.Select(configured, platform.Machine{
		DMI:        platform.ReadDMI("/sys/class/dmi/id"),
		KernelLine: s.kernelLine,
		Files:      platform.HostFiles(),
		Gateway:    defaultGateway,
		Guestinfo:  vmguest.Guestinfo,
	})
	if err != nil {
		s.complain("rancher.cloud_init.datasources", err)
	}
}

// readLocal stores what the sources hold that need no network. None is no
// error: what an earlier boot stored stays in force.
func (s *service) readLocal(ctx context.Context) error {
	// Other sources than the kernel line cannot ask for the wait: they may
	// lie on the disk that is waited for.
	disk := time.Duration(osconfig.FromKernelLine(s.kernelLine).Rancher.CloudInit.Wait) * time.Second
	if disk > 0 {
		defer waiting(s.log, "a configuration disk", disk)()
	}
	local, index, err := askLocal(ctx, s.sources, disk)
	s.later = remote(s.sources, index)
	if err != nil || index < 0 {
		return err
	}
	s.local = local
	f, problems, later := take(ctx, local, &includer{cache: layout.IncludeDir})
	s.includes = later
	if later {
		// The rest is read again when all of it can be.
		f.keepUser = true
		problems = nil
	}
	return s.finish(local.Source, f, problems)
}

// readRemote stores what the sources on the network hold, and what user data
// includes, unless there is no network. Its limit holds whatever a server does.
func (s *service) readRemote(ctx context.Context, noNetwork error) error {
	if noNetwork != nil {
		missed := s.later
		if s.includes {
			missed = append(missed, s.local.Source)
		}
		s.complain(names(missed), fmt.Errorf("no user data from there: %w", noNetwork))
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	answer := s.local
	if len(s.later) > 0 {
		stop := waiting(s.log, "user data from "+names(s.later), s.timeout)
		answers, best := platform.Ask(ctx, s.later)
		stop()
		var failed []platform.Answer
		answer, failed = choose(s.local, answers, best)
		for _, a := range failed {
			s.complain(a.Source.String(), a.Err)
		}
	}
	if !answer.Found {
		return nil
	}
	old, _, err := osconfig.ReadMetadata(layout.Metadata)
	if err != nil {
		s.log.Warn("read the metadata of the last boot", "err", err)
	}
	sameInstance := old.InstanceID == answer.Result.Metadata.InstanceID
	if !sameInstance {
		if err := os.RemoveAll(layout.IncludeDir); err != nil {
			s.log.Warn("forget what an earlier instance included", "err", err)
		}
	}
	inc := &includer{download: platform.Download, cache: layout.IncludeDir}
	f, problems, _ := take(ctx, answer, inc)
	f.keepUser = inc.missed && sameInstance
	return s.finish(answer.Source, f, problems)
}

// finish tells what was wrong about a source and stores what it held. A source
// that cannot be read is no order to forget what an earlier boot stored.
func (s *service) finish(source platform.Source, f finding, problems []error) error {
	if err := errors.Join(problems...); err != nil {
		s.complain(source.String(), err)
		if f.res.Empty() {
			return nil
		}
		f.keepUser = f.keepUser || f.res.UserData == nil
	}
	s.log.Info("found", "source", source.String(), "instance", f.res.Metadata.InstanceID, "keys", len(f.res.Metadata.PublicKeys),
		"configs", len(f.user.Configs), "scripts", len(f.user.Scripts), "vendor_configs", len(f.vendor.Configs),
		"interfaces", len(f.res.Network.Interfaces))
	return f.store("")
}

// apply names the machine and writes what services read. It returns what is
// wrong in the configuration.
func (s *service) apply() []osconfig.Problem {
	start := bootlog.Now()
	cfg, problems, err := osconfig.Load("", s.kernelLine)
	if err != nil {
		problems = append(problems, osconfig.Problem{Source: layout.ConfDir, Text: err.Error()})
	}
	s.steps.Record("load", start, err)
	for _, err := range []error{
		s.steps.Run("hostname", func() error { return SetHostname(cfg, layout.HostHostname) }),
		s.steps.Run("system", func() error { return errors.Join(WriteSystem(cfg), announceDisks(cfg)) }),
	} {
		if err != nil {
			problems = append(problems, problem("cloud-init", err))
		}
	}
	return problems
}

// complain notes what is wrong with a source.
func (s *service) complain(source string, err error) {
	s.problems = append(s.problems, problem(source, err))
}

// problem puts an error on one line.
func problem(source string, err error) osconfig.Problem {
	return osconfig.Problem{Source: source, Text: strings.ReplaceAll(err.Error(), "\n", "; ")}
}

// record keeps copies of the files that this boot is configured by, for
// `ros config apply`. Should the service start again, those of the boot stay.
func (s *service) record() {
	for _, dir := range []string{layout.BootConfig, layout.AppliedConfig} {
		if _, err := os.Stat(dir); err == nil {
			continue
		}
		if err := conffile.Snapshot("", dir); err != nil {
			s.log.Warn("copy the configuration", "to", dir, "err", err)
		}
	}
}

// shownProblems is how many problems the consoles show.
const shownProblems = 10

// publish reports the problems in the log and at login, and errors on the
// consoles too.
func (s *service) publish() error {
	for _, p := range s.problems {
		s.log.Warn("configuration", "problem", p.String())
	}
	for n, p := range osconfig.Errors(s.problems) {
		if n == shownProblems {
			announce(s.log, "bulkhead: configuration: more in "+layout.ConfigProblems)
			break
		}
		announce(s.log, "bulkhead: configuration: "+p.String())
	}
	return conffile.ProblemFile(layout.ConfigProblems).Write(s.problems)
}

func announce(log *slog.Logger, line string) {
	if err := kmsg.Announce(line); err != nil {
		log.Warn("announce", "err", err)
	}
}

// check is the health check: the configuration has been read and has no
// mistakes; warnings are none. `system-docker inspect` keeps what it prints.
func check() int {
	if !milestone.CloudInitDone.Reached() {
		fmt.Println("the configuration has not been read")
		return 1
	}
	problems, err := conffile.ProblemFile(layout.ConfigProblems).Read()
	if err != nil {
		fmt.Println(err)
		return 1
	}
	mistakes := osconfig.Errors(problems)
	if len(mistakes) == 0 {
		return 0
	}
	fmt.Println("mistakes in the configuration:")
	for _, m := range mistakes {
		fmt.Println(m)
	}
	return 1
}
