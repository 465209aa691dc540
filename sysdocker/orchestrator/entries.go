package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
	"github.com/bulkhead-os/bulkhead/sysdocker/control"
	"github.com/bulkhead-os/bulkhead/sysdocker/plan"
)

// entries reads what the entries of the configuration should be.
func (r *reconciler) entries() (in plan.Inputs, wants []plan.Want, mistakes []osconfig.Problem, complete bool) {
	in, complete = r.host.entries()
	in.Records = r.records.All()
	r.mu.Lock()
	in.Asked = maps.Clone(r.asked)
	r.mu.Unlock()
	wants, mistakes, _ = plan.Desired(in)
	return in, wants, mistakes, complete && len(mistakes) == 0 && in.Selection.Complete()
}

// converge begins a round: it reads the configuration again and hands each
// entry's unit what it should be, whether that has changed or not. Nothing waits
// for entries; each is tried until its container is as wanted, and from then on
// its restart policy and its daemon look after it. change is called first, with
// mu held; it may be nil. The round's generation is returned.
func (r *reconciler) converge(change func()) int {
	r.rounds.Lock()
	defer r.rounds.Unlock()
	if change != nil {
		r.mu.Lock()
		change()
		r.mu.Unlock()
	}
	in, wants, mistakes, complete := r.entries()
	if r.endRound != nil {
		r.endRound()
	}
	round, end := context.WithCancel(r.ctx)
	r.endRound = end

	// What no entry is for any more ends first, and chores begin again.
	r.mu.Lock()
	var left []*unit
	for key, u := range r.units {
		is := func(w plan.Want) bool { return control.ConfiguredKey(w.Name) == key && w.System == u.next.System }
		if u.next.Care == plan.Started && !slices.ContainsFunc(wants, is) {
			left = append(left, u)
			delete(r.units, key)
		}
	}
	r.mu.Unlock()
	for _, u := range left {
		u.dismiss()
		<-u.gone
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	r.generation++
	generation := r.generation
	r.wrong = entryProblems(in.Selection, mistakes, r.log)
	begin := func(key string, w plan.Want, chore func(context.Context) error, list func() ([]dockerapi.Container, error)) {
		u := r.units[key]
		if u != nil {
			r.give(u, w, list)
			return
		}
		u = r.newUnit(key, w)
		u.chore = chore
		r.units[key] = u
		r.give(u, w, list)
		r.launch(u)
	}
	for _, system := range []bool{true, false} {
		// One list is enough for the first tries at all of them.
		list := sync.OnceValues(func() ([]dockerapi.Container, error) {
			r.host.preload(round, system)
			// An attempt at what was wanted before may be under way.
			begun := func(u *unit) bool { return u.next.Care != plan.Started || u.generation >= generation }
			err := r.await(round, func() bool { return every(slices.Collect(maps.Values(r.units)), begun) })
			if err != nil {
				return nil, err
			}
			return r.daemon(system).Containers(round, "")
		})
		for _, w := range wants {
			if w.System == system {
				begin(control.ConfiguredKey(w.Name), w, nil, list)
			}
		}
		if complete {
			removal := plan.Want{Care: plan.Started, System: system, Target: plan.Gone}
			begin(fmt.Sprintf("removal/%v", system), removal, func(ctx context.Context) error {
				if _, err := list(); err != nil {
					return err
				}
				return r.removeUnwanted(ctx, r.daemon(system), wants)
			}, nil)
		}
	}
	for _, key := range in.Selection.Missing {
		if osconfig.IsServiceURL(key) {
			fetching := plan.Want{Name: key, Care: plan.Started}
			begin("fetch/"+key, fetching, func(ctx context.Context) error {
				if err := r.host.fetch(ctx, key); err != nil {
					return err
				}
				r.running.Go(func() { r.converge(nil) }) // Its services are in the next round.
				<-ctx.Done()
				return nil
			}, nil)
		}
	}
	r.wake()
	return generation
}

func (r *reconciler) daemon(system bool) daemon {
	if system {
		return r.system
	}
	return r.user
}

// reload has the configuration read again once after the first start of an entry,
// and reports whether it does: it would start again then, if it ends.
func (r *reconciler) reload(entry string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reloaded[entry] {
		return false
	}
	r.reloaded[entry] = true
	r.running.Go(func() { r.converge(func() { delete(r.asked, entry) }) })
	return true
}

// removeUnwanted removes containers whose entry exists no more.
func (r *reconciler) removeUnwanted(ctx context.Context, d daemon, wants []plan.Want) error {
	have, err := d.Containers(ctx, plan.LabelConfigured)
	for _, a := range plan.Unwanted(wants, have) {
		r.log.Info(string(a.Kind), "service", a.Service, "reason", a.Reason)
		err = errors.Join(err, d.Remove(ctx, a.Container))
	}
	return err
}

// requestEntries carries out a request about entries of the configuration.
func (r *reconciler) requestEntries(ctx context.Context, req control.Request, progress func(string)) error {
	r.log.Info("request", "verb", req.Verb, "services", req.Services)
	in, wants, mistakes, _ := r.entries()
	wrong := entryProblems(in.Selection, mistakes, r.log)
	for _, name := range req.Services {
		if err := wrong[name]; err != nil {
			return fmt.Errorf("service %s: %w", name, err)
		}
		if !slices.ContainsFunc(wants, func(w plan.Want) bool { return w.Name == name }) {
			return fmt.Errorf("there is no service %s in the configuration", name)
		}
	}
	target := plan.Running
	switch req.Verb {
	case control.Up:
	case control.Start, control.Stop:
		for _, name := range req.Services {
			err := r.records.Change(control.ConfiguredKey(name), func(r *control.Record) { r.Stopped = req.Verb == control.Stop })
			if err != nil {
				return err
			}
		}
	case control.Create:
		target = plan.Existing
	case control.Remove:
		target = plan.Gone
	case control.Pull:
		return r.pull(ctx, req.Services, wants, progress)
	default:
		return fmt.Errorf("verb %q is unknown", req.Verb)
	}
	generation := r.converge(func() {
		for _, name := range req.Services {
			r.asked[name] = target
		}
		if len(req.Services) == 0 {
			clear(r.asked)
		}
		maps.DeleteFunc(r.asked, func(_ string, t plan.Target) bool { return t == plan.Running })
	})
	tried := func(u *unit) bool { return u.reported >= generation }
	if err := r.await(ctx, func() bool { return every(r.entriesNamed(req.Services), tried) }); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failures(req.Services)
}

// entriesNamed are the units of entries or, if there are no names, all that a
// round does. mu is held.
func (r *reconciler) entriesNamed(names []string) (units []*unit) {
	for _, key := range slices.Sorted(maps.Keys(r.units)) {
		u := r.units[key]
		if u.next.Care == plan.Started && (len(names) == 0 || u.chore == nil && slices.Contains(names, u.next.Name)) {
			units = append(units, u)
		}
	}
	return units
}

// failures is what went wrong with entries or, if there are no names, with all
// and with the configuration. mu is held.
func (r *reconciler) failures(names []string) error {
	failed := make(map[string]bool)
	var errs []error
	for _, u := range r.entriesNamed(names) {
		switch name := u.next.Name; {
		case u.err == nil:
		case name == "":
			errs = append(errs, u.err)
		default:
			failed[name] = true
			errs = append(errs, fmt.Errorf("service %s: %w; it is tried again and again", name, u.err))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.wrong)) {
		if len(names) == 0 && !failed[name] {
			errs = append(errs, fmt.Errorf("%s: %w", name, r.wrong[name]))
		}
	}
	return errors.Join(errs...)
}

// pull gets the images of entries or, if there are no names, of all, whether they
// are there or not.
func (r *reconciler) pull(ctx context.Context, names []string, wants []plan.Want, progress func(string)) error {
	var errs []error
	for _, w := range wants {
		if len(names) > 0 && !slices.Contains(names, w.Name) {
			continue
		}
		image := w.Spec.Config.Image
		progress("pulling " + image)
		if err := r.daemon(w.System).PullImage(ctx, image, w.Login); err != nil {
			errs = append(errs, fmt.Errorf("service %s: %w", w.Name, err))
		}
	}
	return errors.Join(errs...)
}

// entryProblems are what is wrong with entries of the configuration, by entry,
// file or key of rancher.services_include.
func entryProblems(s osconfig.Selection, mistakes []osconfig.Problem, log *slog.Logger) map[string]error {
	wrong := make(map[string]error)
	for _, p := range s.Problems {
		log.Warn("service file", "problem", p)
		if p.Severity == osconfig.Error {
			wrong[p.Source] = errors.Join(wrong[p.Source], p)
		}
	}
	for _, key := range s.Missing {
		wrong[key] = fmt.Errorf("%s: %w; see ros service enable", osconfig.StoredServices(key), fs.ErrNotExist)
		if osconfig.IsServiceURL(key) {
			wrong[key] = errors.New("not fetched yet")
		}
	}
	for _, p := range mistakes {
		log.Error("service of the configuration is left out", "service", p.Source, "problem", p.Text)
		wrong[p.Source] = fmt.Errorf("%s: %s", p.Key, p.Text)
	}
	return wrong
}
