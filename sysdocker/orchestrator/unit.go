package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/internal/bootlog"
	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	"github.com/bulkhead-os/bulkhead/internal/retry"
	"github.com/bulkhead-os/bulkhead/internal/wait"
	"github.com/bulkhead-os/bulkhead/sysdocker/plan"
)

const (
	// actionLimit bounds one call to the daemon, besides the grace period.
	actionLimit = 2 * time.Minute
	// headStart is how long a Docker engine may keep two slots.
	headStart = 20 * time.Second
	// readyLimit is how long a service may take to become ready when its
	// declaration does not say.
	readyLimit = time.Minute
	// endPoll is how often to look whether a container has ended that others
	// wait for.
	endPoll = time.Second
)

// errImageGone means that the daemon has lost the image of a service.
var errImageGone = errors.New("its image is gone")

// unit makes one container what it should be, and keeps it so. Events only make
// it look: what it does follows from what it wants and finds, so that none is
// missed and none acted upon twice.
type unit struct {
	r      *reconciler
	key    string
	daemon daemon
	slots  *slots
	log    *slog.Logger
	// chore is what a unit without a container does instead, until it works.
	chore func(context.Context) error
	// recheck makes it look at its container; dismiss ends its work, and gone is
	// closed when that has ended.
	recheck chan struct{}
	dismiss context.CancelFunc
	gone    chan struct{}

	// Its goroutine alone touches these.
	want       plan.Want
	generation int
	backoff    backoff
	more       plan.Want       // what the next attempt does more
	granted    <-chan struct{} // the slot, asked for or held
	giveBack   func()          // nil without one

	// reconciler.mu guards what follows. next is the newest want, and pass ends
	// what is done for the one before; list lists the containers, once.
	next     plan.Want
	nextGen  int
	endPass  context.CancelFunc
	list     func() ([]dockerapi.Container, error)
	asked    bool // a request about it is carried out
	trial    bool // its image has to show that it works
	state    State
	doing    string
	problem  string // what keeps it from running
	reported int    // the last generation that was tried, and how
	err      error
	ready    int // the last generation that was ready
	health   string
	settled  bool    // it is ready, late or not to run
	released bool    // and those that wait for it go on
	late     bool    // and that has been reported
	began    float64 // when the container was first started, since kernel start
	clock    *time.Timer
	endLead  context.CancelFunc
}

// look makes the unit look at its container soon.
func (u *unit) look() {
	select {
	case u.recheck <- struct{}{}:
	default: // It will look anyway.
	}
}

// run does what is wanted until ctx ends.
func (u *unit) run(ctx context.Context) {
	defer close(u.gone)
	defer u.stopClock()
	for ctx.Err() == nil {
		pass, end, list := u.begin(ctx)
		var err error
		if u.chore != nil {
			err = u.chore(pass)
		} else {
			err = u.bring(ctx, pass, list)
		}
		if err == nil {
			err = u.keep(pass)
		}
		if err != nil && pass.Err() == nil {
			pause := u.failed(err)
			retry.Sleep(pass, pause)
		}
		end()
	}
}

// begin takes the newest want. pass ends when there is a newer one.
func (u *unit) begin(ctx context.Context) (pass context.Context, end context.CancelFunc, list func() ([]dockerapi.Container, error)) {
	pass, end = context.WithCancel(ctx)
	u.r.mu.Lock()
	defer u.r.mu.Unlock()
	if u.generation != u.nextGen {
		u.want, u.generation, u.more = u.next, u.nextGen, plan.Want{Restart: u.next.Restart}
		u.want.Restart = ""
		u.backoff.pauses.Reset()
		u.r.wake()
	}
	u.endPass = end
	list, u.list = u.list, nil
	if list == nil {
		list = func() ([]dockerapi.Container, error) { return u.daemon.Containers(pass, "") }
	}
	u.showLocked(Waiting, "")
	return pass, end, list
}

// failed notes what is wrong and returns how long to wait before the next
// attempt.
func (u *unit) failed(err error) (pause time.Duration) {
	if u.want.Care == plan.Kept {
		u.giveLead()
		u.startClock()
	}
	pause, u.more = u.backoff.next(err)
	u.log.Warn("service fails", "err", err, "again_in", pause)
	u.report(Retrying, err)
	u.r.leaveImage(u, err)
	return pause
}

// bring makes the container what it should be; a service that runs once, it runs
// to its end.
func (u *unit) bring(ctx, pass context.Context, list func() ([]dockerapi.Container, error)) error {
	defer u.endSlot()
	w := u.want
	w.Recreate, w.Restart, w.ReplaceImage = u.more.Recreate, u.more.Restart, u.more.ReplaceImage
	// An entry refers to the containers of those before it. A console that is
	// stopped may be wanted in this boot.
	if w.Care == plan.Started && w.Target.HasContainer() || w.Target == plan.Stopped && u.isConsole() {
		if err := u.awaitOthers(pass); err != nil {
			return err
		}
		if u.isConsole() && u.r.chooseConsole(pass, u) {
			return pass.Err()
		}
	}
	have, err := list()
	if err != nil {
		return err
	}
	actions, err := plan.Actions(w, have)
	if err != nil {
		return err
	}
	id := ""
	for _, a := range actions {
		if err := u.prepare(pass, a.Kind); err != nil {
			return err
		}
		if a.Container != "" {
			id = a.Container
		}
		during := ctx // What has been begun is finished, but not what takes long.
		if w.Care == plan.Started || a.Kind == plan.WaitExit {
			during = pass
		}
		began := time.Now()
		if id, err = u.do(during, a, id); err != nil {
			if w.Care == plan.Kept && w.Target.HasContainer() {
				return fmt.Errorf("%w: %w", errStart, err)
			}
			return err
		}
		if a.Kind != plan.WaitReady {
			u.log.Info(string(a.Kind), "reason", a.Reason, "took", time.Since(began).Round(time.Millisecond))
		}
	}
	return pass.Err()
}

// prepare waits for what an action has to wait for: the services that must be
// ready before, and a slot if the action keeps a processor busy. A slot is held
// until there is something to wait for.
func (u *unit) prepare(pass context.Context, k plan.Kind) error {
	kept := u.want.Care == plan.Kept
	switch {
	case k == plan.WaitReady, k == plan.WaitExit:
		u.endSlot()
		u.startClock()
		u.show(Starting, "")
		return nil
	case k == plan.StopContainer && kept, k == plan.PullImage:
		u.endSlot()
		u.show(Preparing, string(k))
		return pass.Err()
	case k == plan.StartContainer && kept:
		if err := u.awaitOthers(pass); err != nil {
			return err
		}
		if u.isConsole() && u.r.chooseConsole(pass, u) {
			return pass.Err()
		}
	}
	if err := u.awaitSlot(pass); err != nil {
		return err
	}
	if k == plan.StartContainer && u.want.Engine() && !u.hasSettled() {
		u.takeLead()
	}
	u.show(Preparing, string(k))
	return nil
}

// isConsole reports whether it is the service that the configuration chooses.
func (u *unit) isConsole() bool { return u.key == images.Console }

// askSlot asks for a slot ahead of its use.
func (u *unit) askSlot(priority int) { u.granted, u.giveBack = u.slots.ask(priority) }

func (u *unit) awaitSlot(pass context.Context) error {
	if u.giveBack == nil {
		u.askSlot(u.want.Priority)
	}
	select {
	case <-u.granted:
	case <-pass.Done():
		u.endSlot()
	}
	return pass.Err()
}

func (u *unit) endSlot() {
	if u.giveBack != nil {
		u.giveBack()
		u.giveBack = nil
	}
}

// takeLead keeps the slot of an engine that starts now, and asks for a second:
// its start keeps two processors busy and is what people wait for. Together with
// the udev service's look at all devices it takes three times as long; for the
// boot as a whole, starting it first costs a tenth (docs/budgets.md).
//
// The lead ends when the service has settled, when its container ends or waits
// for other services, or after headStart.
func (u *unit) takeLead() {
	ctx, end := context.WithTimeout(context.Background(), headStart)
	_, second := u.slots.ask(u.want.Priority)
	for _, giveBack := range []func(){u.giveBack, second} {
		context.AfterFunc(ctx, giveBack)
	}
	u.giveBack = nil
	u.r.mu.Lock()
	defer u.r.mu.Unlock()
	u.endLead = end
}

// giveLead ends the lead, if the service has it.
func (u *unit) giveLead() {
	u.r.mu.Lock()
	defer u.r.mu.Unlock()
	if u.endLead != nil {
		u.endLead()
	}
}

// awaitOthers waits until the services that this one needs are there, without a
// slot if it has to wait.
func (u *unit) awaitOthers(pass context.Context) error {
	began := time.Now()
	for _, name := range u.want.After {
		other := u.r.other(u, name)
		if other == nil {
			continue
		}
		u.r.mu.Lock()
		there, blocked := other.there(u.generation), false
		u.r.mu.Unlock()
		if !there {
			u.endSlot()
			u.show(Waiting, "waiting for service "+name)
		}
		for !there {
			limited, cancel := context.WithTimeout(pass, wait.ReportEvery)
			err := u.r.await(limited, func() bool {
				there = other.there(u.generation)
				return there || !blocked && other.failing(u.generation)
			})
			cancel()
			switch {
			case there:
			case pass.Err() != nil:
				return pass.Err()
			case err == nil:
				blocked = true
				u.report(Waiting, fmt.Errorf("waits for service %s", name))
			default:
				u.log.Info("waiting", "for", "service "+name, "since", time.Since(began).Round(time.Second))
			}
		}
	}
	u.r.mu.Lock()
	defer u.r.mu.Unlock()
	if u.began == 0 {
		u.began = bootlog.Now()
	}
	return nil
}

// do does one action with the container id and returns the container's id.
func (u *unit) do(ctx context.Context, a plan.Action, id string) (string, error) {
	w := u.want
	if w.Care == plan.Kept && a.Kind != plan.WaitExit {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, actionLimit+w.Decl.Grace())
		defer cancel()
	}
	switch a.Kind {
	case plan.StopContainer:
		if w.Care == plan.Started { // Its daemon would start it again at the next boot.
			if err := u.daemon.SetRestart(ctx, id, dockerapi.RestartPolicy{Name: dockerapi.NoRestart}); err != nil {
				return id, err
			}
		}
		err := u.daemon.Stop(ctx, id)
		if err != nil && w.Care == plan.Kept && w.Target.HasContainer() {
			// What comes next, removal or start, shows whether that matters.
			u.log.Warn("does not stop", "err", err)
			err = nil
		}
		return id, err
	case plan.RemoveContainer:
		return "", u.daemon.Remove(ctx, id)
	case plan.MakeNetwork:
		return id, u.daemon.EnsureNetwork(ctx, a.Object, map[string]string{plan.LabelConfigured: a.Object})
	case plan.LoadImage, plan.ReplaceImage:
		return "", u.provideImage(ctx, a.Kind)
	case plan.PullImage:
		return id, u.pullImage(ctx)
	case plan.CreateContainer:
		id, err := u.daemon.Create(ctx, w.Container, w.Spec)
		if dockerapi.IsNotFound(err) && w.Build.Context != "" {
			err = fmt.Errorf("%w: make its image with ros service build %s", err, w.Name)
		}
		return id, err
	case plan.StartContainer:
		if w.Care == plan.Started && a.Container != "" { // It may have been stopped as above.
			if err := u.daemon.SetRestart(ctx, id, w.Spec.Host.RestartPolicy); err != nil {
				return id, err
			}
		}
		return id, u.daemon.Start(ctx, id)
	case plan.WaitReady: // watch does
		return id, nil
	case plan.WaitExit:
		return id, u.awaitExit(ctx, id)
	}
	return "", fmt.Errorf("BUG: unknown action %s", a.Kind)
}

// provideImage makes sure that the daemon has the image of an OS service. One
// that was not shipped cannot be loaded again.
func (u *unit) provideImage(ctx context.Context, k plan.Kind) error {
	switch image := u.want.Image; {
	case !u.want.Shipped():
		err := u.daemon.Have(ctx, image.Ref)
		if dockerapi.IsNotFound(err) {
			err = fmt.Errorf("%w: %w", errImageGone, err)
		}
		return err
	case k == plan.ReplaceImage:
		return u.daemon.Replace(ctx, image)
	default:
		loaded, err := u.daemon.Ensure(ctx, image)
		if loaded {
			u.r.loaded.Add(1)
		}
		return err
	}
}

// pullImage makes sure that the daemon has the image of an entry.
func (u *unit) pullImage(ctx context.Context) error {
	ref := u.want.Spec.Config.Image
	if u.want.Pull != "always" {
		if _, err := u.daemon.Image(ctx, ref); !dockerapi.IsNotFound(err) {
			return err
		}
	}
	return u.daemon.PullImage(ctx, ref, u.want.Login)
}

// awaitExit waits for the end of a service that runs once. Its failure is
// reported, but it gets no second run.
func (u *unit) awaitExit(ctx context.Context, id string) error {
	code, err := u.daemon.ExitCode(ctx, id)
	switch {
	case err != nil:
		return err
	case code != 0:
		u.settle(u.want, fmt.Errorf("ended with exit code %d", code))
	default:
		u.settle(u.want, nil)
	}
	return nil
}

// keep reports that the container is as wanted, and returns when that may be so
// no longer, with the reason if it is a failure.
func (u *unit) keep(pass context.Context) error {
	w := u.want
	switch {
	case w.Care == plan.Started:
		return u.keepEntry(pass)
	case !w.Target.HasContainer():
		u.release()
		u.report(Stopped, nil)
		for {
			select {
			case <-pass.Done():
				return nil
			case <-u.recheck: // Somebody else may have started it.
			}
			have, err := u.daemon.Containers(pass, w.Selector())
			if actions, _ := plan.Actions(w, have); err == nil && len(actions) > 0 {
				return nil
			}
		}
	case w.Once():
		u.report(Done, nil)
		<-pass.Done()
		return nil
	}
	u.report("", nil)
	return u.watch(pass)
}

// keepEntry leaves an entry to its daemon, and starts it at its times.
func (u *unit) keepEntry(pass context.Context) error {
	w := u.want
	if err := u.awaitEnd(pass); err != nil {
		return err
	}
	if w.Reloads && w.Target == plan.Running && u.r.reload(w.Name) {
		u.log.Info("read the configuration again")
		<-pass.Done()
		return nil
	}
	u.report(Done, nil)
	if w.Schedule == nil || !w.Target.HasContainer() {
		<-pass.Done()
		return nil
	}
	u.want.Target, u.want.Why = plan.Running, "its time has come"
	times := timetable(w.Schedule, time.Now().UTC())
	for pass.Err() == nil {
		due, idle := times(time.Now().UTC())
		if due {
			u.show(Waiting, u.want.Why)
			err := u.bring(pass, pass, func() ([]dockerapi.Container, error) { return u.daemon.Containers(pass, "") })
			if pass.Err() != nil {
				break
			}
			u.log.Info("start at its time", "err", err)
			u.show(Done, "")
			u.complain(err)
		}
		retry.Sleep(pass, idle)
	}
	u.want.Target, u.want.Why = w.Target, w.Why
	return nil
}

// awaitEnd waits until the container of an entry has ended, if that is what those
// after it wait for.
func (u *unit) awaitEnd(pass context.Context) error {
	for u.want.Ends && u.want.Target == plan.Running {
		list, err := u.daemon.Containers(pass, u.want.Selector())
		if err != nil {
			return err
		}
		active := false
		for _, c := range list {
			active = active || plan.IsActive(c)
		}
		if !active {
			return nil
		}
		if retry.Sleep(pass, endPoll) != nil {
			return pass.Err()
		}
	}
	return nil
}

// watch waits for the service to become ready and then for a failure.
func (u *unit) watch(pass context.Context) error {
	ctx, cancel := context.WithCancel(pass)
	defer cancel()
	ready := u.awaitReady(ctx)
	if u.isAsked() {
		u.look()
	}
	var calm <-chan time.Time
	for {
		select {
		case <-pass.Done():
			return nil
		case <-ready:
			ready = nil
			u.settle(u.want, nil)
			u.report(Running, nil)
			calm = time.After(calmAfter)
		case <-calm:
			calm = nil
			u.backoff.calm()
		case <-u.recheck:
			if err := u.inspect(pass); err != nil {
				return err
			}
		}
	}
}

// awaitReady returns a channel that is closed when the service is ready.
func (u *unit) awaitReady(ctx context.Context) <-chan struct{} {
	ready := make(chan struct{})
	w := u.want
	if w.Decl.Ready == nil {
		close(ready)
		return ready
	}
	c := u.r.host.condition(*w.Decl.Ready)
	// Nobody waits for a service that says it cannot be ready.
	missing := func(err error) {
		u.note("waiting for %s: %v", c, err)
		if why, err := os.ReadFile(w.Decl.Ready.Failure); err == nil {
			u.settle(w, errors.New(strings.TrimSpace(string(why))))
		}
		if _, err := os.Stat(w.Decl.Ready.Waiting); err == nil {
			u.giveLead()
		}
	}
	go func() {
		err := wait.Until(ctx, wait.Noting(c, missing), func(waited time.Duration, last error) {
			u.log.Info("waiting", "for", c, "since", waited.Round(time.Second), "last", last)
		})
		if err == nil {
			close(ready)
		}
	}()
	return ready
}

// inspect looks at the container and returns what is wrong with it.
func (u *unit) inspect(pass context.Context) error {
	w := u.want
	have, err := u.daemon.Containers(pass, w.Selector())
	if err != nil {
		// The event stream broke too, and looks again once it is back.
		if pass.Err() == nil {
			u.log.Warn("cannot inspect the container", "err", err)
		}
		return nil
	}
	status := "removed"
	for _, c := range have {
		if c.Name != w.Container {
			continue
		}
		if c.State == dockerapi.Running {
			u.noteHealth(c.Health)
			switch {
			case c.Health != dockerapi.Unhealthy:
			case w.Decl.Unhealthy == "report":
				u.log.Warn("service is unhealthy", "see", "system-docker inspect "+w.Name)
			default:
				return fmt.Errorf("%w: its health check fails", errUnhealthy)
			}
		}
		status = c.Status
	}
	// Anything to do besides waiting?
	if actions, _ := plan.Actions(w, have); len(actions) > 1 {
		return fmt.Errorf("%w: %s", errEnded, status)
	}
	return nil
}
