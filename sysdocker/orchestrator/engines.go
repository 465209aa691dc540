package orchestrator

import (
	"context"
	"errors"
	"fmt"

	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	"github.com/bulkhead-os/bulkhead/sysdocker/control"
	"github.com/bulkhead-os/bulkhead/sysdocker/plan"
)

// createEngine makes a further user engine, and undoes that if it does not work.
func (r *reconciler) createEngine(ctx context.Context, req control.Request, progress func(string)) error {
	r.inspectImage(ctx, req.Image)
	u, err := r.addEngine(req)
	if err != nil {
		return fmt.Errorf("engine %s: %w", req.Service, err)
	}
	defer r.unclaim(u)
	u.log.Info("request", "verb", req.Verb, "image", req.Image)
	progress("waiting until it is healthy")
	err = r.awaitUnit(ctx, backLimit, func() (bool, error) {
		err := u.well(1)
		return err == nil, err
	})
	if err != nil && ctx.Err() == nil {
		progress(err.Error() + ": it is removed again")
		return fmt.Errorf("engine %s: %w", req.Service, errors.Join(err, r.removeEngine(ctx, u, progress)))
	}
	return ctx.Err()
}

// addEngine records a further user engine and has it run.
func (r *reconciler) addEngine(req control.Request) (*unit, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.units[req.Service] != nil {
		return nil, errors.New("there is one of this name already")
	}
	number, err := freeNumber(r.records.Engines())
	if err != nil {
		return nil, err
	}
	r.in.Records[req.Service] = control.Record{Engine: number, Image: req.Image}
	w, err := r.desired(req.Service)
	if err == nil {
		err = r.records.Change(req.Service, func(rec *control.Record) { rec.Engine, rec.Image = number, req.Image })
	}
	if err != nil {
		delete(r.in.Records, req.Service)
		return nil, err
	}
	u := r.newUnit(req.Service, w)
	u.asked = true
	r.units[u.key] = u
	r.generation++
	r.give(u, w, nil)
	r.launch(u)
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
func (r *reconciler) removeEngine(ctx context.Context, u *unit, progress func(string)) error {
	if r.records.Get(u.key).Engine == 0 {
		return errors.New("it is part of the OS")
	}
	u.dismiss()
	<-u.gone
	progress("stopping it")
	for _, act := range []func(context.Context, string) error{u.daemon.Stop, u.daemon.Remove} {
		if err := act(ctx, u.key); err != nil && !dockerapi.IsNotFound(err) {
			return err
		}
	}
	progress("removing its data")
	if err := r.host.wipe(u.key); err != nil {
		return err
	}
	if err := r.records.Forget(u.key); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.units, u.key)
	delete(r.in.Records, u.key)
	return nil
}
