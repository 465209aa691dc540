package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	"github.com/bulkhead-os/bulkhead/sysdocker/control"
	"github.com/bulkhead-os/bulkhead/sysdocker/plan"
)

const (
	// startLimit is how long it may take until the container of a new image is
	// started. Unpacking the image is the daemon's work, and says nothing of it.
	startLimit = 2 * time.Minute
	// trialLimit is how long that container may take from then on to be
	// healthy. The engine must be back within a minute, whichever it is.
	trialLimit = 30 * time.Second
	// steadyTime is how long a container without a health check has to go on
	// running to be called healthy.
	steadyTime = 5 * time.Second
	// backLimit is the same for the previous container: a busy machine is
	// no reason to call it broken.
	backLimit = 2 * time.Minute
	// lostTries is how often in a row a service may fail with another image
	// than the shipped one.
	lostTries = 5
)

var (
	errNotStarted = errors.New("it has not started")
	// errNotHealthy means that a container runs, and that its health check has
	// not been passed yet.
	errNotHealthy = errors.New("is not healthy")
)

// request carries out a request.
func (r *reconciler) request(ctx context.Context, req control.Request, progress func(string)) error {
	defer r.publish() // Who asked may look next.
	if req.Configured {
		return r.requestEntries(ctx, req, progress)
	}
	if req.Verb == control.CreateEngine {
		return r.createEngine(ctx, req, progress)
	}
	u, err := r.claim(req.Service)
	if err != nil {
		return err
	}
	defer r.unclaim(u)
	u.log.Info("request", "verb", req.Verb, "image", req.Image)
	switch req.Verb {
	case control.Stop:
		err = r.stopService(ctx, u)
	case control.Start:
		err = r.startService(ctx, u, progress)
	case control.Upgrade:
		err = r.upgrade(ctx, u, req, progress)
	case control.Rollback:
		previous := r.records.Get(u.key).Previous
		if previous == nil {
			return fmt.Errorf("service %s has had no other image", u.key)
		}
		req.Image = *previous
		err = r.upgrade(ctx, u, req, progress)
	case control.Enable:
		err = r.enable(u, req.Image)
	case control.RemoveEngine:
		err = r.removeEngine(ctx, u, progress)
	default:
		return fmt.Errorf("verb %q is unknown", req.Verb)
	}
	if err == nil && u.key == images.Console {
		err = r.keepConsole(ctx, u)
	}
	if err != nil {
		u.log.Warn("request failed", "verb", req.Verb, "err", err)
		return fmt.Errorf("service %s: %w", u.key, err)
	}
	u.log.Info("request carried out", "verb", req.Verb)
	return nil
}

// claim returns the unit of an OS service for one request at a time.
func (r *reconciler) claim(service string) (*unit, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	u := r.units[service]
	if u == nil || u.next.Care != plan.Kept {
		names := slices.DeleteFunc(slices.Sorted(maps.Keys(r.units)), func(key string) bool { return r.units[key].next.Care != plan.Kept })
		return nil, fmt.Errorf("there is no OS service %s; there are %s", service, strings.Join(names, ", "))
	}
	if u.asked {
		return nil, fmt.Errorf("service %s: another request is being carried out: try again in a minute", service)
	}
	u.asked = true
	return u, nil
}

func (r *reconciler) unclaim(u *unit) {
	r.mu.Lock()
	defer r.mu.Unlock()
	u.asked = false
}

// wanted is the newest want of a unit.
func (r *reconciler) wanted(u *unit) plan.Want {
	r.mu.Lock()
	defer r.mu.Unlock()
	return u.next
}

// stopService stops a service for good.
func (r *reconciler) stopService(ctx context.Context, u *unit) error {
	stop := func(rec *control.Record) { rec.Stopped = true }
	if err := r.records.Change(u.key, stop); err != nil {
		return err
	}
	generation := r.change(u, stop)
	return r.awaitUnit(ctx, r.wanted(u).Decl.Grace()+stopMargin, func() (bool, error) {
		if u.reported < generation {
			return false, errors.New("still runs")
		}
		return u.err == nil, u.err
	})
}

// startService ends a stop.
func (r *reconciler) startService(ctx context.Context, u *unit, progress func(string)) error {
	start := func(rec *control.Record) { rec.Stopped = false }
	if err := r.records.Change(u.key, start); err != nil {
		return err
	}
	generation := r.change(u, start)
	progress("waiting until it is healthy")
	return r.awaitBack(ctx, u, generation)
}

// enable has the service run from another image from the next boot on. If it
// does not work then, the shipped one runs (leaveImage).
func (r *reconciler) enable(u *unit, image string) error {
	r.mu.Lock()
	before := r.in.Records[u.key].Image
	r.mu.Unlock()
	return r.records.Change(u.key, func(rec *control.Record) {
		rec.Image, rec.Previous = image, &before
		rec.Add(event(control.Enable, image, nil))
	})
}

// event is one of now.
func event(verb control.Verb, image string, err error) control.Event {
	e := control.Event{Time: time.Now().UTC().Truncate(time.Second), Verb: verb, Image: image}
	if err != nil {
		e.Error = err.Error()
	}
	return e
}

// upgrade runs a service from another image. If that does not work, the
// previous image runs again. Only an image that works is recorded, so a crash or a
// power cut meanwhile leads back as well.
func (r *reconciler) upgrade(ctx context.Context, u *unit, req control.Request, progress func(string)) error {
	image := req.Image
	r.mu.Lock()
	before := r.in.Records[u.key].Image
	r.mu.Unlock()
	if before == image && r.records.Get(u.key).Image == image {
		return fmt.Errorf("it runs from %s already", control.ImageName(image))
	}
	r.inspectImage(ctx, image)
	limit := startLimit
	if req.Drain {
		endDrain, err := r.host.drain()
		if err != nil {
			return fmt.Errorf("announce that containers stop: %w", err)
		}
		defer endDrain()
		progress("stopping the containers that run")
		limit += r.wanted(u).Decl.Grace()
	}
	sick := r.wanted(u).Decl.Unhealthy == "report" && !r.isHealthy(ctx, u)
	generation := r.change(u, func(rec *control.Record) {
		rec.Image, rec.Stopped = image, false
		u.trial = true
	})
	progress(fmt.Sprintf("starting it from %s, which has %s to be healthy", control.ImageName(image), trialLimit))
	err := r.try(ctx, u, generation, limit)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	// What ails the machine and not the service is no fault of an image.
	if errors.Is(err, errNotHealthy) && sick {
		err = nil
	}
	if err == nil {
		r.endTrial(u)
		return r.records.Change(u.key, func(rec *control.Record) {
			rec.Image, rec.Previous, rec.Stopped = image, &before, false
			rec.Add(event(req.Verb, image, nil))
		})
	}
	progress(fmt.Sprintf("%v: back to %s", err, control.ImageName(before)))
	r.kill(ctx, u)
	r.endTrial(u)
	generation = r.change(u, func(rec *control.Record) { rec.Image = before })
	backErr := r.awaitBack(ctx, u, generation)
	recordErr := r.records.Change(u.key, func(rec *control.Record) {
		rec.Stopped = false
		rec.Add(event(req.Verb, image, err))
	})
	err = fmt.Errorf("%s: %w", control.ImageName(image), err)
	if backErr != nil {
		return errors.Join(err, fmt.Errorf("back to %s: %w", control.ImageName(before), backErr), recordErr)
	}
	return errors.Join(fmt.Errorf("%w; %s runs again", err, control.ImageName(before)), recordErr)
}

func (r *reconciler) endTrial(u *unit) {
	r.mu.Lock()
	defer r.mu.Unlock()
	u.trial = false
}

// try waits until the new image of a generation has shown that it works. Its
// first failure ends that.
func (r *reconciler) try(ctx context.Context, u *unit, generation int, limit time.Duration) error {
	failure := func() error {
		if u.reported >= generation && u.err != nil {
			return fmt.Errorf("it %w", u.err)
		}
		return nil
	}
	err := r.awaitUnit(ctx, limit, func() (bool, error) {
		if err := failure(); err != nil {
			return true, err
		}
		if u.reported < generation {
			return false, errNotStarted
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	if r.wanted(u).Decl.Healthcheck != nil {
		return r.awaitUnit(ctx, trialLimit, func() (bool, error) {
			if err := failure(); err != nil {
				return true, err
			}
			err := u.well(generation)
			return err == nil, err
		})
	}
	// Without a health check it has to go on running.
	steady, cancel := context.WithTimeout(ctx, steadyTime)
	defer cancel()
	if r.await(steady, func() bool { err = failure(); return err != nil }) == nil {
		return err
	}
	return ctx.Err()
}

// awaitUnit waits until look says that the wait is over: its error is the result
// if it had to be over, and what is missing if the limit ends the wait. look is
// called with mu held.
func (r *reconciler) awaitUnit(ctx context.Context, limit time.Duration, look func() (over bool, err error)) error {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	over, missing := false, error(nil)
	err := r.await(limited, func() bool {
		over, missing = look()
		return over
	})
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("after %s %w", limit, missing)
	}
	return missing
}

// awaitBack waits until a service is well from an image that has been before, as
// far as that is the service's to decide.
func (r *reconciler) awaitBack(ctx context.Context, u *unit, generation int) error {
	limit, reports := backLimit, r.wanted(u).Decl.Unhealthy == "report"
	if reports {
		limit = trialLimit
	}
	err := r.awaitUnit(ctx, limit, func() (bool, error) {
		err := u.well(generation)
		// An engine that answers can be used; its health check finds that out some
		// seconds later.
		if errors.Is(err, errNotHealthy) && u.next.Engine() && u.ready >= generation {
			err = nil
		}
		return err == nil, err
	})
	if errors.Is(err, errNotHealthy) && reports {
		return nil
	}
	return err
}

// isHealthy looks whether a service runs as wanted, and is healthy.
func (r *reconciler) isHealthy(ctx context.Context, u *unit) bool {
	w := r.wanted(u)
	have, err := u.daemon.Containers(ctx, w.Selector())
	return err == nil && slices.ContainsFunc(have, func(c dockerapi.Container) bool {
		return w.Current(c) && (w.Decl.Healthcheck == nil || c.Health == dockerapi.Healthy)
	})
}

// kill ends the container of an image that does not work, which may not care for
// being asked to stop.
func (r *reconciler) kill(ctx context.Context, u *unit) {
	w := r.wanted(u)
	have, err := u.daemon.Containers(ctx, w.Selector())
	for _, c := range have {
		if w.Current(c) {
			err = errors.Join(err, u.daemon.Kill(ctx, c.ID))
		}
	}
	if err != nil {
		u.log.Warn("container of an image that failed is not killed", "err", err)
	}
}

// leaveImage leaves an image that has worked before, with which the service fails
// again and again or which is gone. A trial is its request's to end.
func (r *reconciler) leaveImage(u *unit, err error) {
	r.mu.Lock()
	image := r.in.Records[u.key].Image
	keep := u.trial || u.want.Care != plan.Kept || image == "" || u.generation != u.nextGen
	r.mu.Unlock()
	if keep || !errors.Is(err, errImageGone) && u.backoff.total() < lostTries {
		return
	}
	u.backoff.calm()
	failure := fmt.Errorf("%s: it %w", control.ImageName(image), err)
	recordErr := r.records.Change(u.key, func(rec *control.Record) {
		rec.Image, rec.Previous = "", nil
		rec.Add(event(control.Rollback, "", failure))
	})
	u.log.Error("back to the shipped image", "image", image, "err", failure, "record", recordErr)
	announce(u.log, fmt.Sprintf("bulkhead: service %s: %v; back to the shipped image", u.key, failure))
	r.change(u, func(rec *control.Record) { rec.Image = "" })
}
