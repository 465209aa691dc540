package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	"github.com/bulkhead-os/bulkhead/sysdocker/control"
	"github.com/bulkhead-os/bulkhead/sysdocker/plan"
)

const (
	// startLimit is how long it may take until the container of a new image is
	// started. Unpacking the image is the daemon's work, and tells nothing of it.
	startLimit = 2 * time.Minute
	// trialLimit is how long that container may take from then on to be
	// healthy. The engine is to be back within a minute, whichever it is.
	trialLimit = 30 * time.Second
	// steadyTime is how long a container without a health check has to go on
	// running to be called healthy.
	steadyTime = 5 * time.Second
	// backLimit is the same for the container from before: a busy machine is
	// no reason to call it broken.
	backLimit = 2 * time.Minute
	// wellPoll is how often to look.
	wellPoll = 500 * time.Millisecond
	// lostTries is how often in a row a service may fail with another image
	// than the shipped one.
	lostTries = 5
)

// errNotHealthy means that a container runs, and that its health check has not
// been passed yet.
var errNotHealthy = errors.New("is not healthy")

// errOtherConsole means that the configuration has named another console than
// the one that was about to start.
var errOtherConsole = errors.New("the configuration names another console")

// errImageGone means that System Docker has lost the image of a service.
var errImageGone = errors.New("its image is gone")

// A trial is a new image that has to show that it works.
type trial struct {
	before source // the one from before
	failed chan error
}

// steer carries out a request.
func (s *supervisor) steer(ctx context.Context, r control.Request, progress func(string)) error {
	if r.Configured {
		return s.configured(ctx, r, progress)
	}
	if r.Verb == control.CreateEngine {
		return s.createEngine(ctx, r, progress)
	}
	units := s.all()
	i := slices.IndexFunc(units, func(u *unit) bool { return u.service.Name == r.Service })
	if i < 0 {
		var names []string
		for _, u := range units {
			names = append(names, u.service.Name)
		}
		slices.Sort(names)
		return fmt.Errorf("there is no OS service %s; there are %s", r.Service, strings.Join(names, ", "))
	}
	u := units[i]
	if !u.steering.TryLock() {
		return fmt.Errorf("service %s: another request is being carried out: try again in a minute", r.Service)
	}
	defer u.steering.Unlock()
	u.log.Info("request", "verb", r.Verb, "image", r.Image)
	var err error
	switch r.Verb {
	case control.Stop:
		err = u.stop(ctx)
	case control.Start:
		err = u.start(ctx, progress)
	case control.Upgrade:
		err = u.upgrade(ctx, r, progress)
	case control.Rollback:
		previous := s.records.Get(r.Service).Previous
		if previous == nil {
			return fmt.Errorf("service %s has had no other image", r.Service)
		}
		r.Image = *previous
		err = u.upgrade(ctx, r, progress)
	case control.Enable:
		err = u.enable(r.Image)
	case control.RemoveEngine:
		err = u.removeEngine(ctx, progress)
	default:
		return fmt.Errorf("verb %q is unknown", r.Verb)
	}
	if err == nil {
		err = u.keepConsole(ctx)
	}
	if err != nil {
		u.log.Warn("request failed", "verb", r.Verb, "error", err)
		return fmt.Errorf("service %s: %w", r.Service, err)
	}
	u.log.Info("request carried out", "verb", r.Verb)
	return nil
}

// stop stops the service for good.
func (u *unit) stop(ctx context.Context) error {
	if err := u.records.Change(u.service.Name, func(r *control.Record) { r.Stopped = true }); err != nil {
		return err
	}
	u.order(func() { u.stopped = true })
	return u.poll(ctx, grace(u.service)+stopMargin, nil, func(list []dockerapi.Container) error {
		if len(plan.Rest(u.service, list)) > 0 {
			return errors.New("still runs")
		}
		return nil
	})
}

// start ends a stop.
func (u *unit) start(ctx context.Context, progress func(string)) error {
	if err := u.records.Change(u.service.Name, func(r *control.Record) { r.Stopped = false }); err != nil {
		return err
	}
	u.order(func() { u.stopped = false })
	progress("waiting until it is healthy")
	return u.awaitBack(ctx)
}

// upgrade runs the service from another image. If that does not work the image
// from before runs again. Only an image that works is recorded, so that whatever
// happens meanwhile leads back as well.
func (u *unit) upgrade(ctx context.Context, r control.Request, progress func(string)) error {
	name, image := u.service.Name, r.Image
	before := u.runs()
	if before.image == image && u.records.Get(name).Image == image {
		return fmt.Errorf("it runs from %s already", control.ImageName(image))
	}
	after := u.sourceOf(ctx, image)
	limit := startLimit
	if r.Drain {
		endDrain, err := u.drain()
		if err != nil {
			return fmt.Errorf("announce that containers are to stop: %w", err)
		}
		defer endDrain()
		progress("stopping the containers that run")
		limit += grace(u.service)
	}
	healthy := u.awaitWell(ctx, 0, nil) == nil
	try := &trial{before: before, failed: make(chan error, 1)}
	u.order(func() { u.source, u.stopped, u.trial = after, false, try })
	tried := u.wanted()
	progress(fmt.Sprintf("starting it from %s, which has %s to be healthy", control.ImageName(image), trialLimit))
	err := u.awaitStart(ctx, limit, try.failed)
	if err == nil {
		err = u.awaitWell(ctx, trialLimit, try.failed)
	}
	if err == nil && tried.Decl.Healthcheck == nil {
		err = awaitSteady(ctx, try.failed)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	// What ails the machine and not the service is no fault of an image.
	if errors.Is(err, errNotHealthy) && !healthy && u.service.Decl.Unhealthy == "report" {
		err = nil
	}
	event := control.Event{Time: time.Now().UTC().Truncate(time.Second), Verb: r.Verb, Image: image}
	if err == nil {
		u.order(func() { u.trial = nil })
		return u.records.Change(name, func(r *control.Record) {
			r.Image, r.Previous, r.Stopped = image, &before.image, false
			r.Add(event)
		})
	}
	progress(fmt.Sprintf("%v: back to %s", err, control.ImageName(before.image)))
	u.order(func() { u.source, u.trial = before, nil })
	u.kill(ctx, tried)
	backErr := u.awaitBack(ctx)
	event.Error = err.Error()
	recordErr := u.records.Change(name, func(r *control.Record) { r.Stopped = false; r.Add(event) })
	if backErr != nil {
		return errors.Join(fmt.Errorf("%s: %w", control.ImageName(image), err), fmt.Errorf("back to %s: %w", control.ImageName(before.image), backErr), recordErr)
	}
	return errors.Join(fmt.Errorf("%s: %w; %s runs again", control.ImageName(image), err, control.ImageName(before.image)), recordErr)
}

// enable has the service run from another image from the next boot on. If it
// does not work then, the shipped one runs (giveUp).
func (u *unit) enable(image string) error {
	before := u.runs().image
	return u.records.Change(u.service.Name, func(r *control.Record) {
		r.Image, r.Previous = image, &before
		r.Add(control.Event{Time: time.Now().UTC().Truncate(time.Second), Verb: control.Enable, Image: image})
	})
}

// runs returns what the service runs from, which may not be what it does from
// the next boot on.
func (u *unit) runs() source {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.source
}

// kill ends the container of an image that does not work, which may not care for
// being asked to stop.
func (u *unit) kill(ctx context.Context, tried plan.Service) {
	list, err := u.engine.Containers(ctx, plan.LabelService+"="+u.service.Name)
	for _, c := range list {
		if tried.Current(c) && c.State == dockerapi.Running {
			err = errors.Join(err, u.engine.Kill(ctx, c.ID))
		}
	}
	if err != nil {
		u.log.Warn("container of an image that failed is not killed", "error", err)
	}
}

// order changes what the unit is to do and makes it look.
func (u *unit) order(change func()) {
	u.mu.Lock()
	change()
	u.mu.Unlock()
	u.look()
}

// awaitBack waits until the service is well from an image that has been before,
// as far as that is the service's to decide.
func (u *unit) awaitBack(ctx context.Context) error {
	limit := backLimit
	if u.service.Decl.Unhealthy == "report" {
		limit = trialLimit
	}
	wanted := u.wanted()
	err := u.poll(ctx, limit, nil, func(list []dockerapi.Container) error {
		err := complaint(wanted, list)
		if errors.Is(err, errNotHealthy) && u.answers(ctx) {
			return nil
		}
		return err
	})
	if errors.Is(err, errNotHealthy) && u.service.Decl.Unhealthy == "report" {
		return nil
	}
	return err
}

// awaitStart waits until the container that the service is to have is started.
func (u *unit) awaitStart(ctx context.Context, limit time.Duration, failed <-chan error) error {
	wanted := u.wanted()
	return u.poll(ctx, limit, failed, func(list []dockerapi.Container) error {
		for _, c := range list {
			if wanted.Current(c) {
				return nil
			}
		}
		return errors.New("it has not started")
	})
}

// awaitWell waits until the service runs as it is to, and is healthy.
func (u *unit) awaitWell(ctx context.Context, limit time.Duration, failed <-chan error) error {
	wanted := u.wanted()
	return u.poll(ctx, limit, failed, func(list []dockerapi.Container) error { return complaint(wanted, list) })
}

// awaitSteady waits whether a container that runs goes on doing so.
func awaitSteady(ctx context.Context, failed <-chan error) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-failed:
		return err
	case <-time.After(steadyTime):
		return nil
	}
}

// complaint is what keeps a service from being well.
func complaint(wanted plan.Service, list []dockerapi.Container) error {
	for _, c := range list {
		switch {
		case !wanted.Current(c):
		case wanted.Decl.Healthcheck == nil || c.Health == dockerapi.Healthy:
			return nil
		default:
			return fmt.Errorf("it %w: %s", errNotHealthy, c.Health)
		}
	}
	return errors.New("it does not run")
}

// answers tells whether an engine can be used, which its health check finds out
// some seconds later.
func (u *unit) answers(ctx context.Context) bool {
	return u.service.Engine() && u.condition(*u.service.Decl.Ready).Check(ctx) == nil
}

// poll looks at the service's container until there is nothing to complain
// about, failed says something, or the limit is over.
func (u *unit) poll(ctx context.Context, limit time.Duration, failed <-chan error, complain func([]dockerapi.Container) error) error {
	over := time.After(limit)
	for {
		list, err := u.engine.Containers(ctx, plan.LabelService+"="+u.service.Name)
		if err == nil {
			err = complain(list)
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-failed:
			return err
		case <-over:
			return fmt.Errorf("after %s %w", limit, err)
		case <-time.After(wellPoll):
		}
	}
}

// rest stops the container and waits until it is to run again.
func (u *unit) rest(ctx context.Context, existing []dockerapi.Container) {
	for _, a := range plan.Rest(u.service, existing) {
		_, err := u.do(ctx, a, a.Container)
		u.log.Info(string(a.Kind), "reason", a.Reason, "error", err)
	}
	u.endTurn()
	u.release()
	for u.isStopped() && ctx.Err() == nil {
		select {
		case <-u.poke:
			// Somebody else may have started it.
			if list, err := u.containers(ctx); err == nil && len(plan.Rest(u.service, list)) > 0 {
				return
			}
		case <-ctx.Done():
		}
	}
}

func (u *unit) isStopped() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.stopped
}

// giveUp leaves an image with which the service fails: one on trial at once,
// one that has worked before after some tries or when it is not there. try is
// the trial that what failed was brought up for, if any.
func (u *unit) giveUp(what problem, err error, try *trial, t *trouble) {
	if what > unhealthy { // It does what it is told.
		return
	}
	u.mu.Lock()
	image := u.source.image
	switch {
	case try != u.trial: // What failed is from before.
		u.mu.Unlock()
		return
	case try != nil:
		u.trial, u.source = nil, try.before
	case image != "" && (errors.Is(err, errImageGone) || t.total() >= lostTries):
		u.source = source{}
	default:
		u.mu.Unlock()
		return
	}
	u.mu.Unlock()
	t.calm()
	failure := fmt.Errorf("it %s: %w", what, err)
	if try != nil {
		try.failed <- failure
		return
	}
	recordErr := u.records.Change(u.service.Name, func(r *control.Record) {
		r.Image, r.Previous = "", nil
		r.Add(control.Event{Time: time.Now().UTC().Truncate(time.Second), Verb: control.Rollback, Error: control.ImageName(image) + ": " + failure.Error()})
	})
	u.log.Error("back to the shipped image", "image", image, "error", failure, "record", recordErr)
	announce(u.log, fmt.Sprintf("bulkhead: service %s: %s: %v; back to the shipped image", u.service.Name, control.ImageName(image), failure))
}
