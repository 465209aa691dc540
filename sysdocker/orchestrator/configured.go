package orchestrator

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/sysdocker/plan"
	"github.com/bulkhead-os/bulkhead/sysdocker/preload"
)

// configuredLastPause is the longest pause between two attempts at a container
// of the configuration, which may want an image from a registry that is away.
const configuredLastPause = 5 * time.Minute

// configuredAtOnce is how many containers of the configuration are made at a
// time. More would keep their daemon no busier, and this program larger.
const configuredAtOnce = 4

// configuredEngine is the part of a daemon that services of the configuration
// need.
type configuredEngine interface {
	Containers(ctx context.Context, label string) ([]dockerapi.Container, error)
	Create(ctx context.Context, name string, spec dockerapi.Spec) (id string, err error)
	Start(ctx context.Context, id string) error
	Stop(ctx context.Context, id string) error
	SetRestart(ctx context.Context, id string, policy dockerapi.RestartPolicy) error
	Remove(ctx context.Context, id string) error
	EnsureNetwork(ctx context.Context, name string) error
	Image(ctx context.Context, ref string) (dockerapi.Image, error)
	PullImage(ctx context.Context, ref string, login dockerapi.Login) error
}

// endPoll is how often to look whether a container has ended that others wait
// for.
const endPoll = time.Second

// A bringer makes the containers of one daemon what they are to be.
type bringer struct {
	engine configuredEngine
	login  func(image string) dockerapi.Login
	turns  chan struct{} // as many as actions at a time
}

// bring makes the container of c what it is to be and returns what it did.
// existing are the daemon's containers.
func (b bringer) bring(ctx context.Context, c plan.Configured, existing []dockerapi.Container) ([]plan.Action, error) {
	actions, err := c.Bring(existing)
	if err != nil {
		return nil, err
	}
	id := ""
	for i, a := range actions {
		if a.Container != "" {
			id = a.Container
		}
		if id, err = b.do(ctx, c, a, id); err != nil {
			return actions[:i], err
		}
	}
	return actions, nil
}

// awaitEnd waits until the container of c has ended, if that is what those after
// it wait for.
func (b bringer) awaitEnd(ctx context.Context, c plan.Configured) error {
	for c.Ends && c.Target == plan.ToRun {
		list, err := b.engine.Containers(ctx, plan.LabelConfigured+"="+c.Name)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(list, plan.IsActive) {
			return nil
		}
		if sleep(ctx, endPoll); ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// do carries out one action; id is the container's, which it returns.
func (b bringer) do(ctx context.Context, c plan.Configured, a plan.Action, id string) (string, error) {
	if a.Kind == plan.PullImage { // A slow registry must hold up nobody else.
		return id, b.pull(ctx, c)
	}
	select {
	case b.turns <- struct{}{}:
		defer func() { <-b.turns }()
	case <-ctx.Done():
		return id, ctx.Err()
	}
	switch a.Kind {
	case plan.MakeNetwork:
		return id, b.engine.EnsureNetwork(ctx, a.Object)
	case plan.StopContainer:
		// Its daemon would start it again at the next boot.
		if err := b.engine.SetRestart(ctx, id, dockerapi.RestartPolicy{Name: dockerapi.NoRestart}); err != nil {
			return id, err
		}
		return id, b.engine.Stop(ctx, id)
	case plan.RemoveContainer:
		return "", b.engine.Remove(ctx, id)
	case plan.CreateContainer:
		id, err := b.engine.Create(ctx, c.Container, c.Spec)
		if dockerapi.IsNotFound(err) && c.Build.Context != "" {
			err = fmt.Errorf("%w: make its image with ros service build %s", err, c.Name)
		}
		return id, err
	case plan.StartContainer:
		if a.Container != "" { // It may have been stopped as above.
			if err := b.engine.SetRestart(ctx, id, c.Spec.Host.RestartPolicy); err != nil {
				return id, err
			}
		}
		return id, b.engine.Start(ctx, id)
	}
	return "", fmt.Errorf("BUG: unknown action %s", a.Kind)
}

// pull makes sure that the image of c is there.
func (b bringer) pull(ctx context.Context, c plan.Configured) error {
	ref := c.Spec.Config.Image
	if c.Pull != "always" {
		if _, err := b.engine.Image(ctx, ref); !dockerapi.IsNotFound(err) {
			return err
		}
	}
	return b.engine.PullImage(ctx, ref, b.login(ref))
}

// loadArchives loads the archives that people left for a daemon, in its folder
// of the state and on disks, and waits for the daemon if there are any.
func loadArchives(ctx context.Context, engine *dockerapi.Client, folder string, log *slog.Logger) {
	folders := []preload.Folder{preload.At(filepath.Join(layout.PreloadDir, folder))}
	disks, err := preload.Disks()
	if err != nil {
		log.Error("images are not preloaded", "error", err)
	}
	for _, d := range disks {
		defer d.Close()
		folders = append(folders, d.Folder(folder))
	}
	folders = slices.DeleteFunc(folders, preload.Folder.Empty)
	if len(folders) == 0 {
		return
	}
	for pause := time.Second; ; pause = min(2*pause, configuredLastPause) {
		info, err := engine.Info(ctx)
		if err == nil {
			for _, f := range folders {
				if _, err := preload.Archives(ctx, engine, info.ID, f, log); err != nil {
					log.Error("images are not preloaded", "error", err)
				}
			}
			return
		}
		if ctx.Err() != nil {
			return
		}
		log.Info("preload waits for the daemon", "folder", folder, "error", err)
		sleep(ctx, pause)
	}
}

// startInOrder starts all services at once, but each after those that it needs
// and that are to run. start returns once a service is started, and calls
// failed when an attempt failed; blocked is told of a service that waits for
// one about which this is so.
func startInOrder(ctx context.Context, services []plan.Configured, start func(c plan.Configured, failed func()), blocked func(c plan.Configured, other string)) {
	type progress struct {
		started, failing chan struct{}
		fail             func()
	}
	states := make(map[string]progress)
	for _, c := range services {
		if c.Target.HasContainer() {
			failing := make(chan struct{})
			states[c.Name] = progress{make(chan struct{}), failing, sync.OnceFunc(func() { close(failing) })}
		}
	}
	var wg sync.WaitGroup
	for _, c := range services {
		wg.Go(func() {
			own, runs := states[c.Name]
			if !runs { // It needs nobody.
				start(c, func() {})
				return
			}
			for _, other := range c.After {
				needed, ok := states[other]
				if !ok {
					continue
				}
				select {
				case <-needed.started:
					continue
				case <-needed.failing:
					blocked(c, other)
					own.fail()
				case <-ctx.Done():
					return
				}
				select {
				case <-needed.started:
				case <-ctx.Done():
					return
				}
			}
			start(c, own.fail)
			if ctx.Err() == nil {
				close(own.started)
			}
		})
	}
	wg.Wait()
}
