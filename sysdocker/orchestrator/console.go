package orchestrator

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/once"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
	"github.com/bulkhead-os/bulkhead/os-config/conffile"
	"github.com/bulkhead-os/bulkhead/sysdocker/control"
)

// A consoleKey is where the configuration says which console there is to be:
// rancher.console. It counts when the machine boots, and follows requests.
type consoleKey struct {
	// boot returns the console to boot with. Only the first orchestrator of a
	// boot gets an answer: the others find what became of it.
	boot func() (name string, first bool)
	// problem tells why the shipped console is booted with instead.
	problem func(error)
	// keep makes a console the one of the boots to come.
	keep func(ctx context.Context, name string) error
}

// machineConsole is the key of the running system.
func machineConsole(log *slog.Logger) consoleKey {
	return consoleKey{
		problem: func(err error) { tellProblems(log, err) },
		boot: func() (string, bool) {
			if first, err := once.Claim(layout.ConsoleChosen); !first || err != nil {
				return "", false
			}
			// What cannot be read has been told by the cloud-init service.
			cfg, _, _ := osconfig.LoadRunning()
			return cfg.Rancher.Console, true
		},
		keep: func(ctx context.Context, name string) error {
			if cfg, _, err := osconfig.LoadRunning(); err == nil && cfg.Rancher.Console == name {
				return nil
			}
			return conffile.Edit(ctx, layout.CloudConfig, func(old []byte) ([]byte, error) {
				return osconfig.Set(old, "rancher.console", name)
			})
		},
	}
}

// chooseConsole makes the console the one that the configuration names, once
// per boot, and tells whether that changes what is to run. One that cannot be
// had is told, and the shipped one takes its place.
func (u *unit) chooseConsole(ctx context.Context) bool {
	if u.service.Name != images.Console {
		return false
	}
	name, first := u.console.boot()
	if !first {
		return false
	}
	old := u.records.Get(u.service.Name)
	image := ""
	switch name {
	case images.NoConsole, images.DefaultConsole:
	default:
		var err error
		if image, err = u.findConsole(ctx, name, old.Image); err != nil {
			u.console.problem(fmt.Errorf("rancher.console: %w; the default one runs", err))
		}
	}
	stopped := name == images.NoConsole
	if image == old.Image && stopped == old.Stopped {
		return false
	}
	u.log.Info("console of this boot", "name", name, "image", image)
	err := u.records.Change(u.service.Name, func(r *control.Record) { r.Image, r.Stopped = image, stopped })
	if err != nil {
		u.log.Error("console of this boot is not recorded", "error", err)
	}
	runs := u.sourceOf(ctx, image)
	u.order(func() { u.source, u.stopped = runs, stopped })
	return true
}

// findConsole returns the ID of an image of System Docker: the one whose label
// has the name, preferably the one that ran last, or that is called so.
func (u *unit) findConsole(ctx context.Context, name, last string) (string, error) {
	list, err := u.engine.Images(ctx, images.LabelConsole+"="+name)
	if err != nil {
		return "", err
	}
	if slices.ContainsFunc(list, func(i dockerapi.Image) bool { return i.ID == last }) {
		return last, nil
	}
	if len(list) > 0 {
		return list[0].ID, nil
	}
	image, err := u.engine.Image(ctx, name)
	if dockerapi.IsNotFound(err) {
		return "", fmt.Errorf("System Docker has no console %s: see ros console list, and ros console enable ARCHIVE", name)
	}
	return image.ID, err
}

// keepConsole makes the console that a request has led to the one of the boots
// to come.
func (u *unit) keepConsole(ctx context.Context) error {
	if u.service.Name != images.Console {
		return nil
	}
	r := u.records.Get(u.service.Name)
	name := images.DefaultConsole
	switch {
	case r.Stopped:
		name = images.NoConsole
	case r.Image != "":
		name = r.Image
		if image, err := u.engine.Image(ctx, r.Image); err == nil && image.Labels[images.LabelConsole] != "" {
			name = image.Labels[images.LabelConsole]
		}
	}
	if err := u.console.keep(ctx, name); err != nil {
		return fmt.Errorf("rancher.console: %s, for the next boot: %w", name, err)
	}
	return nil
}

// A source is an image that a service may run from.
type source struct {
	image string // ID; empty for the shipped one
	// kept: the container's own files last over reboots.
	kept bool
}

// sourceOf looks at an image of System Docker.
func (u *unit) sourceOf(ctx context.Context, image string) source {
	if image == "" {
		return source{}
	}
	// An image that is gone keeps nothing; that it is shows when it is needed.
	i, err := u.engine.Image(ctx, image)
	return source{image: image, kept: err == nil && i.Labels[images.LabelKept] == "true"}
}
