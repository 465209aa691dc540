package orchestrator

import (
	"context"
	"fmt"
	"slices"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	"github.com/bulkhead-os/bulkhead/sysdocker/control"
)

// chooseConsole makes the console the one that the configuration names, once
// per boot, and reports whether that changes what should run. If there is no such
// console, this is reported and the shipped one takes its place.
func (r *reconciler) chooseConsole(ctx context.Context, u *unit) bool {
	name, first := r.host.bootConsole()
	if !first {
		return false
	}
	old := r.records.Get(u.key)
	image := ""
	if name != images.NoConsole && name != images.DefaultConsole {
		var err error
		if image, err = r.findConsole(ctx, name, old.Image); err != nil {
			r.host.consoleProblem(fmt.Errorf("rancher.console: %w; the default one runs", err))
		}
	}
	stopped := name == images.NoConsole
	if image == old.Image && stopped == old.Stopped {
		return false
	}
	u.log.Info("console of this boot", "name", name, "image", image)
	choose := func(rec *control.Record) { rec.Image, rec.Stopped = image, stopped }
	if err := r.records.Change(u.key, choose); err != nil {
		u.log.Error("console of this boot is not recorded", "err", err)
	}
	r.inspectImage(ctx, image)
	r.change(u, choose)
	return true
}

// findConsole returns the ID of an image of System Docker: the one whose label
// has the name, preferably the one that ran last, or that is called so.
func (r *reconciler) findConsole(ctx context.Context, name, last string) (string, error) {
	list, err := r.system.Images(ctx, images.LabelConsole+"="+name)
	if err != nil {
		return "", err
	}
	if slices.ContainsFunc(list, func(i dockerapi.Image) bool { return i.ID == last }) {
		return last, nil
	}
	if len(list) > 0 {
		return list[0].ID, nil
	}
	image, err := r.system.Image(ctx, name)
	if dockerapi.IsNotFound(err) {
		return "", fmt.Errorf("System Docker has no console %s: see ros console list, and ros console enable ARCHIVE", name)
	}
	return image.ID, err
}

// keepConsole makes the console that a request has led to the one of the boots
// to come.
func (r *reconciler) keepConsole(ctx context.Context, u *unit) error {
	rec := r.records.Get(u.key)
	name := images.DefaultConsole
	switch {
	case rec.Stopped:
		name = images.NoConsole
	case rec.Image != "":
		name = rec.Image
		if image, err := r.system.Image(ctx, rec.Image); err == nil && image.Labels[images.LabelConsole] != "" {
			name = image.Labels[images.LabelConsole]
		}
	}
	if err := r.host.keepConsole(ctx, name); err != nil {
		return fmt.Errorf("rancher.console: %s, for the next boot: %w", name, err)
	}
	return nil
}
