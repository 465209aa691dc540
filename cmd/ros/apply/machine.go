package apply

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	cloudinit "github.com/bulkhead-os/bulkhead/images/cloud-init"
	"github.com/bulkhead-os/bulkhead/images/console"
	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/milestone"
	"github.com/bulkhead-os/bulkhead/internal/wait"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
	"github.com/bulkhead-os/bulkhead/sysdocker/control"
)

const (
	// restartLimit is how long a service may take to stop and start.
	restartLimit = 2 * time.Minute
	// requestLimit is how long a service may take to see a request, dockerLimit
	// how long user Docker may take to answer again.
	requestLimit = 15 * time.Second
	dockerLimit  = 90 * time.Second
	// servicesLimit is how long to wait for containers of the configuration's
	// services: one may get an image from a slow registry.
	servicesLimit = time.Minute
)

// A Machine does steps on the running system, in the console's container.
type Machine struct {
	Log *slog.Logger
	// Since is what may be in force, see State.
	Since  []osconfig.Config
	Wanted osconfig.Config
}

// Do does one step.
func (m Machine) Do(ctx context.Context, s Step) error {
	switch s {
	case Hostname:
		return cloudinit.SetHostname(m.Wanted, "/proc/sys/kernel/hostname")
	case System:
		return cloudinit.WriteSystem(m.Wanted)
	case Network, NTP:
		return restart(ctx, s.service())
	case RestartDocker:
		if err := restart(ctx, s.service()); err != nil {
			return err
		}
		return wait.For(ctx, dockerLimit, wait.DockerAPI(layout.UserSocket), nil)
	case RenewDocker:
		if err := request(ctx, milestone.UserReload); err != nil {
			return err
		}
		return wait.For(ctx, dockerLimit, gone(milestone.UserReloading), nil)
	case Services:
		return services(ctx)
	}
	return console.Apply(ctx, m.Log, m.Since, m.Wanted, string(s))
}

// restart restarts an OS service. Should it end otherwise meanwhile, the
// orchestrator starts it.
func restart(ctx context.Context, service string) error {
	ctx, cancel := context.WithTimeout(ctx, restartLimit)
	defer cancel()
	engine, err := dockerapi.New(layout.SystemSocket)
	if err != nil {
		return err
	}
	defer engine.Close()
	return engine.Restart(ctx, service)
}

// request asks a service for something and waits until the service has taken
// it.
func request(ctx context.Context, m milestone.Milestone) error {
	if err := m.Set(""); err != nil {
		return err
	}
	return wait.For(ctx, requestLimit, gone(m), nil)
}

// gone is the condition that nobody has a request open.
type gone milestone.Milestone

func (g gone) String() string { return "the end of the request " + string(g) }

func (g gone) Check(context.Context) error {
	if milestone.Milestone(g).Reached() {
		return errors.New("it is open")
	}
	return nil
}

// services has the orchestrator bring services in line with the configuration.
// It goes on trying what fails, and what takes longer than servicesLimit.
func services(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, servicesLimit)
	defer cancel()
	err := control.Do(ctx, layout.ControlSocket, control.Request{Verb: control.Up, Configured: true}, func(string) {})
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("services are still being made after %s, which goes on: see ros service list --all", servicesLimit)
	}
	return err
}
