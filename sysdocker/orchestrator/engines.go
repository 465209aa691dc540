package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/sysdocker/control"
	"github.com/bulkhead-os/bulkhead/sysdocker/plan"
)

// createEngine makes a further user engine, and undoes that if it does not work.
func (s *supervisor) createEngine(ctx context.Context, r control.Request, progress func(string)) error {
	u, err := s.addEngine(r)
	if err != nil {
		return fmt.Errorf("engine %s: %w", r.Service, err)
	}
	u.steering.Lock()
	defer u.steering.Unlock()
	u.log.Info("request", "verb", r.Verb, "image", r.Image)
	progress("waiting until it is healthy")
	if err := u.awaitWell(ctx, backLimit, nil); err != nil && ctx.Err() == nil {
		progress(err.Error() + ": it is removed again")
		return fmt.Errorf("engine %s: %w", r.Service, errors.Join(err, u.removeEngine(ctx, progress)))
	}
	return ctx.Err()
}

// addEngine records a further user engine and has it run.
func (s *supervisor) addEngine(r control.Request) (*unit, error) {
	s.fleetMu.Lock()
	defer s.fleetMu.Unlock()
	if slices.ContainsFunc(s.fleet, func(u *unit) bool { return u.service.Name == r.Service }) {
		return nil, errors.New("there is one of this name already")
	}
	engines := s.records.Engines()
	number, err := freeNumber(engines)
	if err != nil {
		return nil, err
	}
	engines[r.Service] = number
	services, err := s.further(engines) // the error may be about another service
	i := slices.IndexFunc(services, func(p plan.Service) bool { return p.Name == r.Service })
	if i < 0 {
		return nil, fmt.Errorf("it has no declaration: %w", err)
	}
	if err := s.records.Change(r.Service, func(rec *control.Record) { rec.Engine, rec.Image = number, r.Image }); err != nil {
		return nil, err
	}
	u := s.newUnit(services[i], s.fleet)
	s.fleet = append(slices.Clone(s.fleet), u)
	s.launch(u, nil)
	return u, nil
}

// freeNumber is the lowest that no engine has.
func freeNumber(engines map[string]int) (int, error) {
	taken := make(map[int]bool)
	for _, n := range engines {
		taken[n] = true
	}
	for n := 1; n <= plan.MaxEngines; n++ {
		if !taken[n] {
			return n, nil
		}
	}
	return 0, fmt.Errorf("there are %d already", plan.MaxEngines)
}

// removeEngine stops a further user engine and removes it with all it has.
func (u *unit) removeEngine(ctx context.Context, progress func(string)) error {
	if u.records.Get(u.service.Name).Engine == 0 {
		return errors.New("it is part of the OS")
	}
	u.dismiss()
	<-u.gone
	progress("stopping it")
	for _, act := range []func(context.Context, string) error{u.engine.Stop, u.engine.Remove} {
		if err := act(ctx, u.service.Name); err != nil && !dockerapi.IsNotFound(err) {
			return err
		}
	}
	progress("removing its data")
	if err := u.wipe(u.service.Name); err != nil {
		return err
	}
	if err := u.records.Forget(u.service.Name); err != nil {
		return err
	}
	u.fleetMu.Lock()
	defer u.fleetMu.Unlock()
	u.fleet = slices.DeleteFunc(slices.Clone(u.fleet), func(o *unit) bool { return o == u })
	return nil
}

// furtherEngines returns what makes the services of further user engines.
func furtherEngines(decls []images.Declaration, index images.Index, bootID string) func(map[string]int) ([]plan.Service, error) {
	return func(engines map[string]int) ([]plan.Service, error) {
		decls, index, err := plan.WithEngines(decls, index, engines)
		if err != nil {
			return nil, err
		}
		return plan.Services(decls, index, bootID)
	}
}

// wipeEngine removes what a further user engine has on the machine.
func wipeEngine(service string) error {
	return errors.Join(os.RemoveAll(layout.UserEngineRoot+service), os.RemoveAll(layout.UserEngineRun+service))
}
