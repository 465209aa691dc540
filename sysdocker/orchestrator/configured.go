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
	"github.com/bulkhead-os/bulkhead/sysdocker/preload"
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
	PullImage(ctx context.Context, ref string, login dockerapi.Login) error
}

// runConfigured loads the archives that people left for the two daemons, and
// starts the containers of rancher.services, those of a daemon after its
// archives. Nothing waits for them; each is tried until it runs. From then on
// its restart policy and its daemon look after it. What is wrong with the
// configuration itself has been told by the cloud-init service.
func runConfigured(ctx context.Context, system *dockerapi.Client, log *slog.Logger) {
	cfg, _, err := osconfig.LoadRunning()
	if err != nil {
		log.Warn("configuration is read in part", "error", err)
	}
	user, err := dockerapi.New(layout.UserSocket)
	if err != nil {
		log.Error("no rancher.services", "error", err)
		return
	}
	defer user.Close()
	var inSystem, inUser []plan.Configured
	for _, name := range slices.Sorted(maps.Keys(cfg.Rancher.Services)) {
		c, err := plan.Configure(name, cfg.Rancher.Services[name], cfg.Rancher.Environment)
		switch {
		case err != nil:
			log.Error("service from the configuration is left out", "error", err)
		case c.System:
			inSystem = append(inSystem, c)
		default:
			inUser = append(inUser, c)
		}
	}
	var wg sync.WaitGroup
	for _, tier := range []struct {
		engine   *dockerapi.Client
		archives string
		services []plan.Configured
	}{
		{system, layout.PreloadSystem, inSystem},
		{user, layout.PreloadUser, inUser},
	} {
		wg.Go(func() {
			loadArchives(ctx, tier.engine, tier.archives, log)
			for _, c := range tier.services {
				login := plan.Login(c.Spec.Config.Image, cfg.Rancher.RegistryAuths)
				wg.Go(func() { keepTrying(ctx, tier.engine, c, login, log) })
			}
		})
	}
	wg.Wait()
}

// loadArchives waits for the daemon if there is something for it.
func loadArchives(ctx context.Context, engine *dockerapi.Client, dir string, log *slog.Logger) {
	if files, err := os.ReadDir(dir); err != nil || len(files) == 0 {
		return
	}
	for pause := time.Second; ; pause = min(2*pause, configuredLastPause) {
		info, err := engine.Info(ctx)
		if err == nil {
			if _, err = preload.Archives(ctx, engine, info.ID, dir, log); err != nil {
				log.Error("images are not preloaded", "error", err)
			}
			return
		}
		if ctx.Err() != nil {
			return
		}
		log.Info("preload waits for the daemon", "dir", dir, "error", err)
		sleep(ctx, pause)
	}
}

func keepTrying(ctx context.Context, engine configuredEngine, c plan.Configured, login dockerapi.Login, log *slog.Logger) {
	for pause := time.Second; ctx.Err() == nil; pause = min(2*pause, configuredLastPause) {
		did, err := bringConfigured(ctx, engine, c, login)
		if err == nil {
			log.Info("service from the configuration "+did, "service", c.Name)
			return
		}
		log.Warn("service from the configuration does not run", "service", c.Name, "error", err, "again_in", pause)
		sleep(ctx, pause)
	}
}

// bringConfigured makes the container of c run and says what it found or did.
func bringConfigured(ctx context.Context, engine configuredEngine, c plan.Configured, login dockerapi.Login) (string, error) {
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
		case c.CreateOnly:
			return "is there", nil
		default:
			return "started", engine.Start(ctx, have.ID)
		}
	}
	id, err := engine.Create(ctx, c.Name, c.Spec)
	if dockerapi.IsNotFound(err) {
		if err := engine.PullImage(ctx, c.Spec.Config.Image, login); err != nil {
			return "", err
		}
		id, err = engine.Create(ctx, c.Name, c.Spec)
	}
	if err != nil {
		return "", err
	}
	if c.CreateOnly {
		return "created", nil
	}
	return "created and started", engine.Start(ctx, id)
}
