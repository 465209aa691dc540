// Package orchestrator runs the OS services: it brings each one up as package
// plan says, in parallel but after those it waits for, and keeps it up until
// the machine goes down. It never gives up on a service and never makes the
// others pay for one that is broken. What a service is, is declared in images;
// how a container is made, in plan.
package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	"github.com/bulkhead-os/bulkhead/internal/wait"
	"github.com/bulkhead-os/bulkhead/sysdocker/control"
	"github.com/bulkhead-os/bulkhead/sysdocker/plan"
)

// engine is the part of the system daemon that services are run with.
type engine interface {
	Containers(ctx context.Context, label string) ([]dockerapi.Container, error)
	Create(ctx context.Context, name string, spec dockerapi.Spec) (id string, err error)
	Start(ctx context.Context, id string) error
	Stop(ctx context.Context, id string) error
	Kill(ctx context.Context, id string) error
	Remove(ctx context.Context, id string) error
	ExitCode(ctx context.Context, id string) (int64, error)
	Image(ctx context.Context, ref string) (dockerapi.Image, error)
	Images(ctx context.Context, label string) ([]dockerapi.Image, error)
	Changes(ctx context.Context, label string, changed func(value string)) error
}

// imageLoader provides the shipped images; see preload.Loader.
type imageLoader interface {
	Ensure(ctx context.Context, e images.IndexEntry) (loaded bool, err error)
	Have(ctx context.Context, ref string) error
	Replace(ctx context.Context, e images.IndexEntry) error
}

// supervisor runs all services of the machine.
type supervisor struct {
	engine   engine
	images   imageLoader
	log      *slog.Logger
	decls    []images.Declaration // for telling orphans
	services []plan.Service
	// stored is what the configuration of earlier boots wants, and wishes
	// brings what the whole of it does; it may be nil.
	stored wishes
	wishes <-chan wishes
	// records are what people want; serve hands their requests on to a handler
	// until ctx ends.
	records *control.Store
	console consoleKey
	serve   func(ctx context.Context, handle func(context.Context, control.Request, func(string)) error)
	// configured carries out requests about services of the configuration.
	configured func(ctx context.Context, r control.Request, progress func(string)) error
	// drain announces that user Docker's containers are to stop with their
	// engine, until end is called.
	drain func() (end func(), err error)
	// condition makes the wait for a service's readiness.
	condition func(images.Ready) wait.Condition
	// settled is called once per service, when it is ready or late: err says
	// what it is late with.
	settled func(s plan.Service, began float64, err error)
	// recovered is called when a service that was late is ready.
	recovered func(s plan.Service)
	// troubled is called with what is wrong with a service, and with nil when it
	// is ready.
	troubled func(service string, err error)
	// booted is called when every service is settled, with the number of
	// images that had to be loaded.
	booted func(ctx context.Context, images int)

	// further makes the services of user engines, by their numbers; wipe removes
	// what one has left on the machine.
	further func(engines map[string]int) ([]plan.Service, error)
	wipe    func(service string) error

	// processors is how many services are brought up at a time, at least two.
	processors int

	turns  turns
	loaded atomic.Int64
	// launch runs a unit until ctx ends.
	launch func(u *unit, existing []dockerapi.Container)

	fleetMu sync.Mutex // guards fleet
	fleet   []*unit    // replaced, not changed
}

// run brings everything up and keeps it up until ctx ends; then it stops
// everything.
func (s *supervisor) run(ctx context.Context) error {
	units := s.units()
	s.fleet = units
	s.turns.free = max(2, s.processors)
	var running sync.WaitGroup
	s.launch = func(u *unit, existing []dockerapi.Container) {
		ctx, cancel := context.WithCancel(ctx)
		u.dismiss = cancel
		running.Go(func() {
			defer close(u.gone)
			defer cancel()
			u.run(ctx, existing)
		})
	}
	// Listen before looking, so that no change falls in between.
	listening := make(chan struct{})
	running.Go(func() { s.listen(ctx, listening) })
	select {
	case <-listening:
	case <-ctx.Done():
	}
	existing, err := s.engine.Containers(ctx, "")
	if err != nil && ctx.Err() == nil {
		return err
	}
	running.Go(func() { s.removeOrphans(ctx, existing) })
	// All queue up before any runs, so that the most urgent are first.
	for _, u := range byPriority(units) {
		u.turn = s.turns.ask(u.service.Priority)
	}
	for _, u := range units {
		s.launch(u, existing)
	}
	running.Go(func() {
		s.serve(ctx, func(ctx context.Context, r control.Request, progress func(string)) error {
			return s.steer(ctx, r, progress)
		})
	})
	running.Go(func() {
		select {
		case w := <-s.wishes:
			for _, u := range s.all() {
				u.wish(w)
			}
		case <-ctx.Done():
		}
	})
	running.Go(func() {
		for _, u := range units {
			select {
			case <-u.settled:
			case <-ctx.Done():
				return
			}
		}
		s.booted(ctx, int(s.loaded.Load()))
	})
	<-ctx.Done()
	running.Wait()
	return s.stop(context.WithoutCancel(ctx))
}

// all are the units that there are now.
func (s *supervisor) all() []*unit {
	s.fleetMu.Lock()
	defer s.fleetMu.Unlock()
	return s.fleet
}

// units makes a unit of each service and ties it to those it waits for.
func (s *supervisor) units() []*unit {
	var units []*unit
	for _, service := range s.services { // dependencies come first
		units = append(units, s.newUnit(service, units))
	}
	return units
}

// newUnit makes the unit of a service, which may wait for others.
func (s *supervisor) newUnit(service plan.Service, others []*unit) *unit {
	r := s.records.Get(service.Name)
	u := &unit{
		supervisor: s,
		service:    service,
		log:        s.log.With("service", service.Name),
		settled:    make(chan struct{}),
		gone:       make(chan struct{}),
		poke:       make(chan struct{}, 1),
		files:      s.stored.files[service.Name],
		stopped:    r.Stopped,
		source:     source{image: r.Image},
	}
	for _, o := range others {
		// A service that cannot be run at all is not waited for.
		if slices.Contains(service.Decl.After, o.service.Name) {
			u.after = append(u.after, o)
		}
	}
	return u
}

func byPriority(units []*unit) []*unit {
	return slices.SortedStableFunc(slices.Values(units), func(a, b *unit) int {
		return b.service.Priority - a.service.Priority
	})
}

// listen tells units about changes of their containers. Whatever happens while
// the stream is broken is made up for by telling all of them afterwards.
func (s *supervisor) listen(ctx context.Context, listening chan<- struct{}) {
	pause := firstPause
	first := true
	for ctx.Err() == nil {
		err := s.engine.Changes(ctx, plan.LabelService, func(name string) {
			pause = firstPause
			if first {
				first = false
				close(listening)
				return
			}
			for _, u := range s.all() {
				if name == "" || name == u.service.Name {
					u.look()
				}
			}
		})
		if ctx.Err() != nil {
			return
		}
		s.log.Warn("event stream broke", "error", err, "again_in", pause)
		sleep(ctx, pause)
		pause = min(2*pause, lastPause)
	}
}

func (s *supervisor) removeOrphans(ctx context.Context, existing []dockerapi.Container) {
	for _, a := range plan.Orphans(s.decls, existing) {
		err := s.engine.Remove(ctx, a.Container)
		s.log.Info(string(a.Kind), "service", a.Service, "reason", a.Reason, "error", err)
	}
}

// stopMargin is added to a service's grace period: after that the daemon kills
// it, which takes a moment too.
const stopMargin = 10 * time.Second

// stop stops all services, those that others need last. Each group waits for
// the one before no longer than the grace periods say.
func (s *supervisor) stop(ctx context.Context) error {
	var mu sync.Mutex
	var errs []error
	var services []plan.Service
	for _, u := range s.all() {
		services = append(services, u.service)
	}
	for _, group := range plan.StopOrder(services) {
		var stopping sync.WaitGroup
		for _, service := range group {
			stopping.Go(func() {
				ctx, cancel := context.WithTimeout(ctx, grace(service)+stopMargin)
				defer cancel()
				began := time.Now()
				err := s.engine.Stop(ctx, service.Name)
				if dockerapi.IsNotFound(err) {
					return
				}
				s.log.Info("stopped", "service", service.Name, "took", time.Since(began).Round(time.Millisecond), "error", err)
				if err != nil {
					mu.Lock()
					defer mu.Unlock()
					errs = append(errs, fmt.Errorf("service %s: %w", service.Name, err))
				}
			})
		}
		stopping.Wait()
	}
	return errors.Join(errs...)
}

func grace(s plan.Service) time.Duration {
	if g := time.Duration(s.Decl.StopGracePeriod); g > 0 {
		return g
	}
	return 10 * time.Second // Docker's default
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
