// Package orchestrator makes the machine's containers what package plan says
// that they should be: the OS services, in parallel but after those they wait
// for, and the entries of rancher.services. It never gives up on a service and
// never makes the others pay for one that is broken. docs/orchestrator.md has a
// drawing.
package orchestrator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	"github.com/bulkhead-os/bulkhead/internal/kmsg"
	"github.com/bulkhead-os/bulkhead/internal/retry"
	"github.com/bulkhead-os/bulkhead/internal/wait"
	"github.com/bulkhead-os/bulkhead/sysdocker/control"
	"github.com/bulkhead-os/bulkhead/sysdocker/plan"
)

// daemon is what services are run with: a Docker daemon, and the shipped images
// for it (preload.Loader).
type daemon interface {
	Containers(ctx context.Context, label string) ([]dockerapi.Container, error)
	Create(ctx context.Context, name string, spec dockerapi.Spec) (id string, err error)
	Start(ctx context.Context, id string) error
	Stop(ctx context.Context, id string) error
	Kill(ctx context.Context, id string) error
	Remove(ctx context.Context, id string) error
	SetRestart(ctx context.Context, id string, policy dockerapi.RestartPolicy) error
	ExitCode(ctx context.Context, id string) (int64, error)
	EnsureNetwork(ctx context.Context, name string, labels map[string]string) error
	Image(ctx context.Context, ref string) (dockerapi.Image, error)
	Images(ctx context.Context, label string) ([]dockerapi.Image, error)
	PullImage(ctx context.Context, ref string, login dockerapi.Login) error
	Changes(ctx context.Context, label string, changed func(value string, healthy bool)) error

	Ensure(ctx context.Context, e images.IndexEntry) (loaded bool, err error)
	Have(ctx context.Context, ref string) error
	Replace(ctx context.Context, e images.IndexEntry) error
}

// host is the rest of the machine.
type host interface {
	// serve hands requests on to a handler until ctx ends.
	serve(ctx context.Context, handle func(context.Context, control.Request, func(string)) error)
	// publish makes known what services do.
	publish(control.Status)
	// settled is called once per OS service, when it is ready or late: err says
	// what it is late with. recovered is called when a late one is ready, and
	// booted when all are settled, with the number of images that were loaded.
	settled(w plan.Want, began float64, err error)
	recovered(w plan.Want)
	booted(images int)
	// condition makes the wait for a service's readiness.
	condition(images.Ready) wait.Condition

	// entries reads what the configuration says about entries now. It is
	// complete if none is left out because of a mistake.
	entries() (in plan.Inputs, complete bool)
	// preload loads the archives that people left for one of the daemons.
	preload(ctx context.Context, system bool)
	// fetch gets the file of a key of rancher.services_include.
	fetch(ctx context.Context, key string) error

	// bootConsole returns the console to boot with. Only the first orchestrator
	// of a boot gets an answer: the others find what became of it.
	bootConsole() (name string, first bool)
	// consoleProblem reports why the shipped console boots instead, and
	// keepConsole makes a console that of the boots to come.
	consoleProblem(error)
	keepConsole(ctx context.Context, name string) error
	// drain announces that user Docker's containers stop with their engine, until
	// end is called. wipe removes what a user engine has left on the machine.
	drain() (end func(), err error)
	wipe(service string) error
}

// reconciler runs all services of the machine.
type reconciler struct {
	system, user daemon
	host         host
	records      *control.Store
	log          *slog.Logger
	// settings brings what the whole configuration wants of the OS services:
	// Binds, Versions and Restart. It may be nil.
	settings <-chan plan.Inputs

	// osSlots is how many OS services are worked on at a time, and entrySlots how
	// many entries: more would keep their daemon no busier, and this program larger.
	osSlots, entrySlots slots
	loaded              atomic.Int64
	running             sync.WaitGroup
	ctx                 context.Context // of all units

	// rounds lets one round of entries begin at a time, and endRound ends the list
	// of the last one.
	rounds   sync.Mutex
	endRound context.CancelFunc

	mu      sync.Mutex    // guards what follows, and what units report
	changed chan struct{} // closed when a unit has reported
	in      plan.Inputs   // for OS services, as they count now
	units   map[string]*unit
	// generation is the number of the last change of a want.
	generation int
	asked      map[string]plan.Target // for entries
	reloaded   map[string]bool        // entries after which the configuration was read again
	wrong      map[string]error       // what is wrong, by entry, file or key of rancher.services_include
}

// newReconciler returns one for a machine; in is what its OS services are.
func newReconciler(system, user daemon, host host, records *control.Store, in plan.Inputs, log *slog.Logger) *reconciler {
	r := &reconciler{
		system: system, user: user, host: host, records: records, in: in, log: log,
		changed: make(chan struct{}), units: make(map[string]*unit), asked: make(map[string]plan.Target),
		reloaded: make(map[string]bool),
	}
	r.osSlots.free, r.entrySlots.free = 2, 4
	r.in.Records, r.in.Lasting = records.All(), make(map[string]bool)
	return r
}

// run brings everything up and keeps it up until ctx ends; then it stops the OS
// services.
func (r *reconciler) run(ctx context.Context) error {
	r.ctx = ctx
	for _, record := range r.in.Records {
		r.inspectImage(ctx, record.Image)
	}
	wants, _, err := plan.Desired(r.in)
	if err != nil {
		if len(wants) == 0 {
			return err
		}
		announce(r.log, kmsg.Failure("services", err, "the image was built wrongly: install another version"))
	}
	// Listen before looking, so that no change falls in between.
	listening := make(chan struct{})
	r.running.Go(func() { r.listen(ctx, sync.OnceFunc(func() { close(listening) })) })
	select {
	case <-listening:
	case <-ctx.Done():
	}
	existing, err := r.system.Containers(ctx, "")
	if err != nil && ctx.Err() == nil {
		return err
	}
	r.running.Go(func() { r.removeOrphans(ctx, existing) })
	list := func() ([]dockerapi.Container, error) { return existing, nil }
	var units []*unit
	for _, w := range wants {
		units = append(units, r.newUnit(w.Name, w))
	}
	r.mu.Lock()
	r.generation++
	for i, u := range units {
		r.give(u, wants[i], list)
		r.units[u.key] = u
	}
	r.mu.Unlock()
	// All queue up before any runs, so that the most urgent are first.
	for _, u := range slices.SortedStableFunc(slices.Values(units), func(a, b *unit) int { return b.next.Priority - a.next.Priority }) {
		u.askSlot(u.next.Priority)
	}
	for _, u := range units {
		r.launch(u)
	}
	r.running.Go(func() { r.host.serve(ctx, r.request) })
	r.running.Go(func() { r.publishing(ctx) })
	r.running.Go(func() {
		select {
		case settings := <-r.settings:
			r.adapt(settings)
		case <-ctx.Done():
		}
	})
	r.running.Go(func() {
		settled := func(u *unit) bool { return u.released }
		if r.await(ctx, func() bool { return every(units, settled) }) == nil {
			r.host.booted(int(r.loaded.Load()))
			r.converge(nil)
		}
	})
	<-ctx.Done()
	r.running.Wait()
	return r.stop(context.WithoutCancel(ctx))
}

// every reports whether all units are so.
func every(units []*unit, so func(*unit) bool) bool {
	return !slices.ContainsFunc(units, func(u *unit) bool { return !so(u) })
}

// newUnit makes the unit of a service; launch runs it.
func (r *reconciler) newUnit(key string, w plan.Want) *unit {
	u := &unit{
		r: r, key: key, daemon: r.system, slots: &r.osSlots, state: Waiting, log: r.log.With("service", cmp.Or(w.Name, key)),
		recheck: make(chan struct{}, 1), gone: make(chan struct{}), backoff: backoff{pauses: servicePauses()},
	}
	if w.Care == plan.Started {
		u.slots, u.backoff = &r.entrySlots, backoff{pauses: entryPauses()}
		if !w.System {
			u.daemon = r.user
		}
	}
	return u
}

func (r *reconciler) launch(u *unit) {
	ctx, cancel := context.WithCancel(r.ctx)
	u.dismiss = cancel
	r.running.Go(func() {
		defer cancel()
		u.run(ctx)
	})
}

// give hands a unit its newest want, of the present generation. mu is held.
func (r *reconciler) give(u *unit, w plan.Want, list func() ([]dockerapi.Container, error)) {
	u.next, u.nextGen, u.list = w, r.generation, list
	if u.endPass != nil {
		u.endPass()
	}
}

// desired is what an OS service should be now. mu is held.
func (r *reconciler) desired(name string) (plan.Want, error) {
	wants, _, err := plan.Desired(r.in) // the error may be about another service
	for _, w := range wants {
		if w.Care == plan.Kept && w.Name == name {
			return w, nil
		}
	}
	return plan.Want{}, fmt.Errorf("it has no declaration: %w", err)
}

// change changes what counts about an OS service now, and returns the
// generation with which its unit will report.
func (r *reconciler) change(u *unit, change func(*control.Record)) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	record := r.in.Records[u.key]
	change(&record)
	r.in.Records[u.key] = record
	r.generation++
	if w, err := r.desired(u.key); err == nil {
		r.give(u, w, nil)
	}
	return r.generation
}

// adapt takes over what the configuration wants of the OS services. Those that
// it does not change are left alone.
func (r *reconciler) adapt(settings plan.Inputs) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before, _, _ := plan.Desired(r.in)
	r.in.Binds, r.in.Versions, r.in.Restart = settings.Binds, settings.Versions, settings.Restart
	after, _, _ := plan.Desired(r.in)
	r.in.Restart = nil // It is done once.
	r.generation++
	for i, w := range after {
		changed := w.Restart != "" || w.Spec.Config.Labels[plan.LabelSpec] != before[i].Spec.Config.Labels[plan.LabelSpec]
		if u := r.units[w.Name]; u != nil && changed {
			r.give(u, w, nil)
		}
	}
}

// inspectImage notes whether an image's containers outlast a boot. One that is
// gone keeps nothing; that it is shows when it is needed.
func (r *reconciler) inspectImage(ctx context.Context, image string) {
	if image == "" {
		return
	}
	i, err := r.system.Image(ctx, image)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.in.Lasting[image] = err == nil && i.Labels[images.LabelKept] == "true"
}

// other is the unit of a service that u comes after, nil if there is nothing to
// wait for.
func (r *reconciler) other(u *unit, name string) *unit {
	r.mu.Lock()
	defer r.mu.Unlock()
	if u.want.Care == plan.Kept {
		return r.units[name]
	}
	other := r.units[control.ConfiguredKey(name)]
	if other == nil || !other.next.Target.HasContainer() {
		return nil
	}
	return other
}

// wake has those look that await something. mu is held.
func (r *reconciler) wake() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// await waits until something holds. It fails only when ctx ends. holds is
// called with mu held, whenever a unit has reported.
func (r *reconciler) await(ctx context.Context, holds func() bool) error {
	for {
		r.mu.Lock()
		is, changed := holds(), r.changed
		r.mu.Unlock()
		if is {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// publishing publishes what services do whenever that changes.
func (r *reconciler) publishing(ctx context.Context) {
	for ctx.Err() == nil {
		r.mu.Lock()
		changed := r.changed
		r.mu.Unlock()
		r.publish()
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

func (r *reconciler) publish() {
	status := control.Status{OS: make(map[string]string), Configured: make(map[string]string), States: make(map[string]string)}
	r.mu.Lock()
	for name, err := range r.wrong {
		status.Configured[name] = err.Error()
	}
	for key, u := range r.units {
		problems := status.Configured
		if u.next.Care == plan.Kept {
			problems = status.OS
			status.States[key] = string(u.state)
		}
		if u.problem != "" && u.next.Name != "" {
			problems[u.next.Name] = u.problem
		}
	}
	r.mu.Unlock()
	r.host.publish(status)
}

// listen makes units look when their containers change. Whatever happens while
// the stream is broken is made up for by making all of them look afterwards.
func (r *reconciler) listen(ctx context.Context, listening func()) {
	pauses := servicePauses()
	first := true
	for ctx.Err() == nil {
		err := r.system.Changes(ctx, plan.LabelService, func(name string, healthy bool) {
			pauses.Reset()
			if first {
				first = false
				listening()
				return
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			for _, u := range r.units {
				// Health matters to those only who wait for it.
				if u.next.Care == plan.Kept && (name == "" || name == u.key) && (!healthy || u.asked) {
					u.look()
				}
			}
		})
		if ctx.Err() != nil {
			return
		}
		pause := pauses.Next()
		r.log.Warn("event stream broke", "err", err, "again_in", pause)
		retry.Sleep(ctx, pause)
	}
}

func (r *reconciler) removeOrphans(ctx context.Context, existing []dockerapi.Container) {
	r.mu.Lock()
	decls, _, _ := plan.WithEngines(r.in.Declarations, r.in.Index, control.Engines(r.in.Records))
	r.mu.Unlock()
	for _, a := range plan.Orphans(decls, existing) {
		err := r.system.Remove(ctx, a.Container)
		r.log.Info(string(a.Kind), "service", a.Service, "reason", a.Reason, "err", err)
	}
}

// stopMargin is added to a service's grace period: after that the daemon kills
// it, which takes a moment too.
const stopMargin = 10 * time.Second

// stop stops all OS services, those that others need last. Each group waits for
// the one before no longer than the grace periods say.
func (r *reconciler) stop(ctx context.Context) error {
	var mu sync.Mutex
	var errs []error
	var wants []plan.Want
	for _, key := range slices.Sorted(maps.Keys(r.units)) {
		if w := r.units[key].next; w.Care == plan.Kept {
			wants = append(wants, w)
		}
	}
	for _, group := range plan.StopOrder(wants) {
		var stopping sync.WaitGroup
		for _, w := range group {
			stopping.Go(func() {
				ctx, cancel := context.WithTimeout(ctx, w.Decl.Grace()+stopMargin)
				defer cancel()
				began := time.Now()
				err := r.system.Stop(ctx, w.Container)
				if dockerapi.IsNotFound(err) {
					return
				}
				r.log.Info("stopped", "service", w.Name, "took", time.Since(began).Round(time.Millisecond), "err", err)
				if err != nil {
					mu.Lock()
					defer mu.Unlock()
					errs = append(errs, fmt.Errorf("service %s: %w", w.Name, err))
				}
			})
		}
		stopping.Wait()
	}
	return errors.Join(errs...)
}
