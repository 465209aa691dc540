package orchestrator

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
	"github.com/bulkhead-os/bulkhead/sysdocker/plan"
)

// configuredLastPause is the longest pause between two attempts at a container
// from rancher.services, which may want an image from a registry that is away.
const configuredLastPause = 5 * time.Minute

// configuredEngine is the part of a daemon that rancher.services needs.
type configuredEngine interface {
	Containers(ctx context.Context, label string) ([]dockerapi.Container, error)
	Create(ctx context.Context, name string, spec dockerapi.Spec) (id string, err error)
	Start(ctx context.Context, id string) error
	Remove(ctx context.Context, id string) error
	PullImage(ctx context.Context, ref string) error
}

// runConfigured starts the containers of rancher.services. Nothing waits for
// them; each is tried until it runs. From then on its restart policy and its
// daemon look after it. What is wrong with the configuration itself has been
// told by the cloud-init service.
func runConfigured(ctx context.Context, system configuredEngine, log *slog.Logger) {
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		log.Warn("kernel command line is not heeded", "error", err)
	}
	cfg, _, err := osconfig.Load("", string(cmdline))
	if err != nil {
		log.Warn("configuration is read in part", "error", err)
	}
	if len(cfg.Rancher.Services) == 0 {
		return
	}
	user, err := dockerapi.New(layout.UserSocket)
	if err != nil {
		log.Error("no rancher.services", "error", err)
		return
	}
	defer user.Close()
	var wg sync.WaitGroup
	for _, name := range slices.Sorted(maps.Keys(cfg.Rancher.Services)) {
		c, err := plan.Configure(name, cfg.Rancher.Services[name], cfg.Rancher.Environment)
		if err != nil {
			log.Error("service from the configuration is left out", "error", err)
			continue
		}
		var engine configuredEngine = user
		if c.System {
			engine = system
		}
		wg.Go(func() { keepTrying(ctx, engine, c, log) })
	}
	wg.Wait()
}

func keepTrying(ctx context.Context, engine configuredEngine, c plan.Configured, log *slog.Logger) {
	for pause := time.Second; ctx.Err() == nil; pause = min(2*pause, configuredLastPause) {
		did, err := bringConfigured(ctx, engine, c)
		if err == nil {
			log.Info("service from the configuration "+did, "service", c.Name)
			return
		}
		log.Warn("service from the configuration does not run", "service", c.Name, "error", err, "again_in", pause)
		sleep(ctx, pause)
	}
}

// bringConfigured makes the container of c run and says what it found or did.
func bringConfigured(ctx context.Context, engine configuredEngine, c plan.Configured) (string, error) {
	existing, err := engine.Containers(ctx, "")
	if err != nil {
		return "", err
	}
	labels := c.Spec.Config.Labels
	for _, have := range existing {
		switch {
		case have.Name != c.Name:
		case have.Labels[plan.LabelConfigured] != c.Name:
			return "", fmt.Errorf("container %s exists and is not from the configuration: remove or rename it", c.Name)
		case have.Labels[plan.LabelSpec] != labels[plan.LabelSpec]:
			if err := engine.Remove(ctx, have.ID); err != nil {
				return "", err
			}
		case have.State == dockerapi.Running:
			return "runs", nil
		default:
			return "started", engine.Start(ctx, have.ID)
		}
	}
	id, err := engine.Create(ctx, c.Name, c.Spec)
	if dockerapi.IsNotFound(err) {
		if err := engine.PullImage(ctx, c.Spec.Config.Image); err != nil {
			return "", err
		}
		id, err = engine.Create(ctx, c.Name, c.Spec)
	}
	if err != nil {
		return "", err
	}
	return "created and started", engine.Start(ctx, id)
}
