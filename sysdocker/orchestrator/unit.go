package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/internal/bootlog"
	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	"github.com/bulkhead-os/bulkhead/internal/wait"
	"github.com/bulkhead-os/bulkhead/sysdocker/plan"
)

// actionLimit bounds one call to the daemon, beside the service's grace period.
const actionLimit = 2 * time.Minute

// unit is one service in the care of a supervisor. Events only make it look:
// what it does follows from the state it finds, so that none is missed and
// none acted upon twice.
type unit struct {
	*supervisor
	service plan.Service
	log     *slog.Logger
	after   []*unit
	// settled is closed once the service is ready, or late.
	settled chan struct{}
	poke    chan struct{}
	// dismiss ends the unit's work, and gone is closed when it has ended.
	dismiss context.CancelFunc
	gone    chan struct{}
	turn    *turn // asked for ahead, or held

	mu        sync.Mutex // guards what follows
	began     float64    // when the container was first started, since kernel start
	clock     *time.Timer
	isSettled bool
	isLate    bool   // and that has been told
	doing     string // for the report of a service that is late
	endLead   context.CancelFunc
	files     plan.Files
	restart   bool // asked for by the configuration
	stopped   bool // by a request, until another
	source    source
	trial     *trial // of source, nil without one

	steering sync.Mutex // held while a request is carried out
}

// wanted is the service with what the configuration adds to it.
func (u *unit) wanted() plan.Service {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := u.service.WithImage(u.source.image).WithFiles(u.files)
	if u.source.kept {
		return s.Kept()
	}
	return s
}

// onTrial returns the trial of the image that the service runs from now, or nil.
func (u *unit) onTrial() *trial {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.trial
}

// look makes the unit look at its container soon.
func (u *unit) look() {
	select {
	case u.poke <- struct{}{}:
	default: // It will look anyway.
	}
}

// run keeps the service up until ctx ends. existing are the containers that
// there are now.
func (u *unit) run(ctx context.Context, existing []dockerapi.Container) {
	defer u.stopClock()
	var t trouble
	var opts plan.Options
	u.beforeFirst(ctx)
	for {
		if u.isStopped() {
			u.rest(ctx, existing)
			var err error
			if existing, err = u.containers(ctx); err != nil {
				return
			}
			continue
		}
		what, try := failedStart, u.onTrial()
		err := u.bring(ctx, existing, opts)
		if errors.Is(err, errOtherConsole) {
			if existing, err = u.containers(ctx); err != nil {
				return
			}
			continue
		}
		if err == nil {
			if u.service.Once() {
				return
			}
			what, err = u.watch(ctx, &t)
		}
		if ctx.Err() != nil {
			return
		}
		u.giveLead()
		u.startClock()
		var pause time.Duration
		pause, opts = t.next(what)
		u.note("%s: %v", what, err)
		if what <= unhealthy {
			u.troubled(u.service.Name, fmt.Errorf("it %s: %w", what, err))
		}
		u.log.Log(ctx, what.level(), "service "+what.String(), "error", err, "again_in", pause)
		u.giveUp(what, err, try, &t)
		sleep(ctx, pause)
		if existing, err = u.containers(ctx); err != nil {
			return
		}
	}
}

// beforeFirst finds out what there is to know before the first look.
func (u *unit) beforeFirst(ctx context.Context) {
	stopped := u.isStopped()
	runs := u.sourceOf(ctx, u.runs().image)
	u.mu.Lock()
	u.source = runs
	u.mu.Unlock()
	// A console that is stopped may be wanted in this boot.
	if stopped && u.service.Name == images.Console {
		u.endTurn()
		if u.awaitOthers(ctx) == nil {
			u.chooseConsole(ctx)
		}
	}
}

// containers lists all containers. It fails only when ctx ends.
func (u *unit) containers(ctx context.Context) ([]dockerapi.Container, error) {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		existing, err := u.engine.Containers(ctx, "")
		if err == nil || ctx.Err() != nil {
			return existing, ctx.Err()
		}
		u.note("%v", err)
		u.log.Warn("daemon does not list its containers", "error", err, "again_in", pause)
		sleep(ctx, pause)
	}
}

// bring makes the container run, or a service that runs once run to its end.
func (u *unit) bring(ctx context.Context, existing []dockerapi.Container, opts plan.Options) error {
	defer u.endTurn()
	id := ""
	for _, a := range plan.Bring(u.wanted(), existing, opts) {
		if err := u.prepare(ctx, a.Kind); err != nil {
			return err
		}
		if a.Container != "" {
			id = a.Container
		}
		began := time.Now()
		u.note("%s", a.Kind)
		var err error
		id, err = u.do(ctx, a, id)
		if err != nil {
			return err
		}
		if a.Kind != plan.WaitReady {
			u.log.Info(string(a.Kind), "reason", a.Reason, "took", time.Since(began).Round(time.Millisecond))
		}
	}
	return nil
}

// prepare waits for what an action has to wait for: the services that are to
// be ready before, and this one's turn if the action keeps a processor busy. A
// turn lasts until there is something to wait for.
func (u *unit) prepare(ctx context.Context, k plan.Kind) error {
	switch k {
	case plan.StopContainer:
		u.endTurn()
		return nil
	case plan.WaitReady, plan.WaitExit:
		u.endTurn()
		u.startClock()
		return nil
	case plan.StartContainer:
		if err := u.awaitOthers(ctx); err != nil {
			return err
		}
		if u.chooseConsole(ctx) {
			return errOtherConsole
		}
		if err := u.awaitTurn(ctx); err != nil {
			return err
		}
		if u.service.Engine() && !u.hasSettled() {
			u.takeLead(ctx)
		}
		return nil
	}
	return u.awaitTurn(ctx)
}

func (u *unit) awaitTurn(ctx context.Context) error {
	if u.turn == nil {
		u.turn = u.turns.ask(u.service.Priority)
	}
	err := u.turn.wait(ctx)
	if err != nil {
		u.turn = nil
	}
	return err
}

func (u *unit) endTurn() {
	if u.turn != nil {
		u.turn.giveBack()
		u.turn = nil
	}
}

// headStart is how long an engine may have the lead.
const headStart = 20 * time.Second

// takeLead keeps the turn of an engine that is to start from now, and asks for a
// second: its start keeps two processors busy and is what people wait for. Beside
// the udev service's look at all devices it takes three times as long; for the
// boot as a whole, starting it first costs a tenth (docs/budgets.md).
//
// The lead ends when the service has settled, when its container ends or waits
// for other services, or after headStart.
func (u *unit) takeLead(ctx context.Context) {
	ctx, end := context.WithTimeout(ctx, headStart)
	for _, t := range []*turn{u.turn, u.turns.ask(u.service.Priority)} {
		context.AfterFunc(ctx, t.giveBack)
	}
	u.turn = nil
	u.mu.Lock()
	defer u.mu.Unlock()
	u.endLead = end
}

// giveLead ends the lead, if the service has it.
func (u *unit) giveLead() {
	u.mu.Lock()
	end := u.endLead
	u.mu.Unlock()
	if end != nil {
		end()
	}
}

// do does one action with the container id and returns the container's id.
func (u *unit) do(ctx context.Context, a plan.Action, id string) (string, error) {
	if a.Kind != plan.WaitExit {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, actionLimit+grace(u.service))
		defer cancel()
	}
	switch a.Kind {
	case plan.StopContainer:
		if err := u.engine.Stop(ctx, id); err != nil {
			// What comes next, removal or start, shows whether that matters.
			u.log.Warn("does not stop", "error", err)
		}
		return id, nil
	case plan.RemoveContainer:
		return "", u.engine.Remove(ctx, id)
	case plan.LoadImage, plan.ReplaceImage:
		return "", u.provideImage(ctx, a.Kind)
	case plan.CreateContainer:
		return u.engine.Create(ctx, u.service.Name, u.wanted().Spec)
	case plan.StartContainer:
		return id, u.engine.Start(ctx, id)
	case plan.WaitReady: // watch does
		return id, nil
	case plan.WaitExit:
		return id, u.awaitExit(ctx, id)
	}
	return "", fmt.Errorf("BUG: unknown action %s", a.Kind)
}

// provideImage makes sure that there is an image. One that was not shipped
// cannot be loaded again.
func (u *unit) provideImage(ctx context.Context, k plan.Kind) error {
	wanted := u.wanted()
	image := wanted.Image
	switch {
	case wanted.Foreign():
		err := u.images.Have(ctx, image.Ref)
		if dockerapi.IsNotFound(err) {
			err = fmt.Errorf("%w: %w", errImageGone, err)
		}
		return err
	case k == plan.ReplaceImage:
		return u.images.Replace(ctx, image)
	}
	loaded, err := u.images.Ensure(ctx, image)
	if loaded {
		u.loaded.Add(1)
	}
	return err
}

// awaitOthers waits until the services that this one needs are settled, without
// a turn if it has to wait.
func (u *unit) awaitOthers(ctx context.Context) error {
	began := time.Now()
	for _, dep := range u.after {
		if !dep.hasSettled() {
			u.endTurn()
		}
		u.note("waiting for service %s", dep.service.Name)
		for waiting := true; waiting; {
			select {
			case <-dep.settled:
				waiting = false
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(wait.ReportEvery):
				u.log.Info("waiting", "for", "service "+dep.service.Name, "since", time.Since(began).Round(time.Second))
			}
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.began == 0 {
		u.began = bootlog.Now()
	}
	return nil
}

// awaitExit waits for the end of a service that runs once. Its failure is told,
// but it gets no second run.
func (u *unit) awaitExit(ctx context.Context, id string) error {
	code, err := u.engine.ExitCode(ctx, id)
	switch {
	case err != nil:
		return err
	case code != 0:
		u.settle(fmt.Errorf("ended with exit code %d", code))
	default:
		u.settle(nil)
	}
	return nil
}

// watch waits for the service to become ready and then for a problem with it.
func (u *unit) watch(ctx context.Context, t *trouble) (problem, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ready := u.ready(ctx)
	var calm <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return none, ctx.Err()
		case <-ready:
			ready = nil
			u.settle(nil)
			u.troubled(u.service.Name, nil)
			calm = time.After(calmAfter)
		case <-calm:
			calm = nil
			t.calm()
		case <-u.poke:
			if what, err := u.inspect(ctx); what != none {
				return what, err
			}
		}
	}
}

// inspect looks at the container and tells what is wrong with it.
func (u *unit) inspect(ctx context.Context) (problem, error) {
	existing, err := u.engine.Containers(ctx, plan.LabelService+"="+u.service.Name)
	switch {
	case ctx.Err() != nil:
		return none, nil
	case err != nil:
		// The event stream broke too, and looks again once it is back.
		u.log.Warn("no look at the container", "error", err)
		return none, nil
	}
	if u.isStopped() {
		return dismissed, errors.New("asked for")
	}
	wanted := u.wanted()
	status := "removed"
	for _, c := range existing {
		if c.Name == u.service.Name && c.State == dockerapi.Running {
			switch {
			case c.Labels[plan.LabelSpec] != wanted.Spec.Config.Labels[plan.LabelSpec]:
				u.takeRestart() // It has one.
				return outdated, errors.New("it has other files or another image now")
			case u.takeRestart():
				return unwanted, errors.New("rancher.restart_services names it")
			case c.Health == dockerapi.Unhealthy:
				return u.unhealthy()
			}
		}
		status = c.Status
	}
	// Anything to do beside waiting?
	if len(plan.Bring(wanted, existing, plan.Options{})) > 1 {
		return ended, errors.New(status)
	}
	return none, nil
}

// takeRestart tells whether a restart has been asked for, once.
func (u *unit) takeRestart() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	asked := u.restart
	u.restart = false
	return asked
}

// wish takes over what the configuration wants of the service.
func (u *unit) wish(w wishes) {
	u.mu.Lock()
	u.files = w.files[u.service.Name]
	u.restart = slices.Contains(w.restart, u.service.Name)
	u.mu.Unlock()
	u.look()
}

func (u *unit) unhealthy() (problem, error) {
	if u.service.Decl.Unhealthy == "report" {
		u.log.Warn("service is unhealthy", "see", "system-docker inspect "+u.service.Name)
		return none, nil
	}
	return unhealthy, errors.New("its health check fails")
}
