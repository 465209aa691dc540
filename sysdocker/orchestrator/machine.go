package orchestrator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/google/renameio/v2"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	"github.com/bulkhead-os/bulkhead/internal/kmsg"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/milestone"
	"github.com/bulkhead-os/bulkhead/internal/version"
	"github.com/bulkhead-os/bulkhead/internal/wait"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
	"github.com/bulkhead-os/bulkhead/os-config/conffile"
	"github.com/bulkhead-os/bulkhead/os-config/datasource/platform"
	"github.com/bulkhead-os/bulkhead/sysdocker/control"
	"github.com/bulkhead-os/bulkhead/sysdocker/plan"
	"github.com/bulkhead-os/bulkhead/sysdocker/preload"
)

// fetchLimit is how long one attempt at a file of services may take.
const fetchLimit = time.Minute

// machine is the host that runs. It writes down how the boot went; once the
// report of a boot exists, as for an orchestrator that was started again, it only
// logs.
type machine struct {
	system, user   *dockerapi.Client
	log            *slog.Logger
	events, report string // paths
	problems       string // path
	announce       func(line string)
	over           bool
	// afterBoot begins what only has to be done for a machine that is up.
	afterBoot func()

	mu           sync.Mutex // guards what follows
	systemDocker float64
	userDocker   float64
	published    control.Status
}

func newMachine(system, user *dockerapi.Client, log *slog.Logger) *machine {
	_, err := os.Stat(layout.BootReport)
	return &machine{
		system: system, user: user, log: log, over: err == nil,
		events: layout.BootEvents, report: layout.BootReport, problems: layout.ServiceProblems,
		announce: func(line string) { announce(log, line) },
	}
}

// announce writes a line to every console.
func announce(log *slog.Logger, line string) {
	if err := kmsg.Announce(line); err != nil {
		log.Warn("line did not reach the consoles", "line", line, "err", err)
	}
}

func (m *machine) serve(ctx context.Context, handle func(context.Context, control.Request, func(string)) error) {
	if err := control.Serve(ctx, layout.ControlSocket, handle); err != nil {
		m.log.Error("no requests from ros", "err", err)
	}
}

func (m *machine) publish(s control.Status) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if maps.Equal(s.OS, m.published.OS) && maps.Equal(s.Configured, m.published.Configured) && maps.Equal(s.States, m.published.States) {
		return
	}
	text, err := json.Marshal(s)
	if err == nil {
		err = renameio.WriteFile(m.problems, text, 0o600)
	}
	if err != nil {
		m.log.Warn("cannot write what services do", "err", err)
		return
	}
	m.published = s
}

func (m *machine) condition(r images.Ready) wait.Condition {
	switch {
	case r.Docker != "":
		return wait.DockerAPI(r.Docker)
	case r.Socket != "":
		return wait.Socket(r.Socket)
	}
	return wait.File(r.File)
}

func (m *machine) entries() (in plan.Inputs, complete bool) {
	// Problems outside of services have been reported by cloud-init.
	cfg, problems, err := osconfig.LoadRunning()
	if err != nil {
		m.log.Warn("configuration is read in part", "err", err)
	}
	selection := cfg.Rancher.Select("", func(name string) ([]byte, error) { return images.Catalogue(name, version.Version) })
	return plan.Inputs{Rancher: cfg.Rancher, Selection: selection, ReadFile: os.ReadFile}, err == nil && !osconfig.AnyError(problems)
}

func (m *machine) preload(ctx context.Context, system bool) {
	if system {
		preload.All(ctx, m.system, preload.Bounded(layout.ConfDir), layout.PreloadSystem, layout.PreloadProblems+layout.PreloadSystem, m.log)
	} else {
		preload.All(ctx, m.user, preload.Bounded(layout.UserDataRoot), layout.PreloadUser, layout.PreloadProblems+layout.PreloadUser, m.log)
	}
}

func (m *machine) fetch(ctx context.Context, key string) error {
	ctx, cancel := context.WithTimeout(ctx, fetchLimit)
	defer cancel()
	text, err := platform.Download(ctx, key)
	if err != nil {
		return err
	}
	if services, problems := osconfig.ParseServices(key, text); len(services) == 0 {
		return errors.New(problems[0].String())
	}
	return conffile.Write(osconfig.StoredServices(key), text)
}

func (m *machine) bootConsole() (string, bool) {
	if first, err := milestone.ConsoleChosen.Claim(); !first || err != nil {
		return "", false
	}
	// What cannot be read has been reported by cloud-init.
	cfg, _, _ := osconfig.LoadRunning()
	return cfg.Rancher.Console, true
}

func (m *machine) consoleProblem(err error) { m.reportProblems(err) }

func (m *machine) keepConsole(ctx context.Context, name string) error {
	if cfg, _, err := osconfig.LoadRunning(); err == nil && cfg.Rancher.Console == name {
		return nil
	}
	return conffile.Edit(ctx, layout.CloudConfig, func(old []byte) ([]byte, error) {
		return osconfig.Set(old, "rancher.console", name)
	})
}

func (m *machine) drain() (end func(), err error) {
	return func() { _ = milestone.UserDrain.Clear() }, milestone.UserDrain.Set("")
}

func (m *machine) wipe(service string) error {
	return errors.Join(os.RemoveAll(layout.UserEngineRoot+service), os.RemoveAll(layout.UserEngineRun+service))
}

// settings adds what the configuration wants of OS services to in.
func settings(in *plan.Inputs) error {
	cfg, _, err := osconfig.LoadRunning()
	services, _, _ := plan.WithEngines(in.Declarations, in.Index, control.Engines(in.Records))
	errs := []error{err, writeFiles(cfg.WriteFiles, services, in)}
	for _, name := range cfg.Rancher.RestartServices {
		if !slices.ContainsFunc(services, func(d images.Declaration) bool { return d.Name == name }) {
			errs = append(errs, fmt.Errorf("rancher.restart_services: there is no service %s", name))
			continue
		}
		in.Restart = append(in.Restart, name)
	}
	return errors.Join(errs...)
}

// awaitSettings sends the settings of the whole configuration once it has been
// read.
func (m *machine) awaitSettings(ctx context.Context, in plan.Inputs, to chan<- plan.Inputs) {
	if err := wait.For(ctx, milestone.ConfigurationLimit, milestone.CloudInitDone, nil); err != nil {
		m.log.Warn("services run as the stored configuration says", "err", err)
		return
	}
	if err := settings(&in); err != nil {
		m.reportProblems(err)
	}
	if len(in.Restart) > 0 {
		first, err := milestone.ServicesRestarted.Claim()
		if !first { // This is not the boot's first orchestrator.
			in.Restart = nil
		}
		if err != nil {
			m.log.Warn("services are not restarted", "err", err)
		}
	}
	select {
	case to <- in:
	case <-ctx.Done():
	}
}

// reportProblems reports what is wrong with settings as cloud-init does.
func (m *machine) reportProblems(err error) {
	problems := osconfig.ProblemsOf("services", err)
	for _, p := range problems {
		m.log.Warn("configuration", "problem", p.String())
		m.announce("bulkhead: configuration: " + p.String())
	}
	if err := conffile.ProblemFile(layout.ConfigProblems).Add(problems...); err != nil {
		m.log.Warn("problems are not shown at login", "err", err)
	}
}
