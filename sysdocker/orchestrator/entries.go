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
	if r.endRound != nil {
		r.endRound()
	}
	r.roundWork.Wait()
	if change != nil {
		r.mu.Lock()
		change()
		r.mu.Unlock()
	}
	in, wants, mistakes, complete := r.entries()
	wrong := entryProblems(in.Selection, mistakes, r.log)
	round, end := context.WithCancel(r.ctx)
	r.endRound = end

	r.mu.Lock()
	r.generation++
	generation := r.generation
	r.wrong = wrong
	clear(r.chores)
	clear(r.choreErrs)
	var left, begun []*unit
	for key, u := range r.units {
		is := func(w plan.Want) bool { return control.ConfiguredKey(w.Name) == key && w.System == u.next.System }
		if u.next.Care == plan.Started && !slices.ContainsFunc(wants, is) {
			left = append(left, u)
			delete(r.units, key)
		}
	}
	lists := make(map[bool]func() ([]dockerapi.Container, error))
	for _, system := range []bool{true, false} {
		// One list is enough for the first tries at all of them.
		lists[system] = sync.OnceValues(func() ([]dockerapi.Container, error) {
			r.host.preload(round, system)
			// An attempt at what was wanted before may be under way.
			begun := func(u *unit) bool { return u.next.Care != plan.Started || u.generation >= generation }
			err := r.await(round, func() bool { return every(slices.Collect(maps.Values(r.units)), begun) })
			if err != nil {
				return nil, err
			}
			return r.daemon(system).Containers(round, "")
		})
	}
	r.mu.Unlock()
	for _, u := range left {
		u.dismiss()
		<-u.gone
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range wants {
		key := control.ConfiguredKey(w.Name)
		u := r.units[key]
		if u == nil {
			u = r.newUnit(key, w)
			r.units[key] = u
			begun = append(begun, u)
		}
		r.give(u, w, lists[w.System])
	}
	for _, u := range begun {
		r.launch(u)
	}
	if complete {
		for system, list := range lists {
			r.chore(round, removal(system), func(ctx context.Context) error {
				if _, err := list(); err != nil {
					return err
				}
				return r.removeUnwanted(ctx, r.daemon(system), wants)
			})
		}
	}
	for _, key := range in.Selection.Missing {
		if osconfig.IsServiceURL(key) {
			r.chore(round, "service "+key, func(ctx context.Context) error {
				if err := r.host.fetch(ctx, key); err != nil {
					return err
				}
				r.running.Go(func() { r.converge(nil) }) // Its services are in the next round.
				<-ctx.Done()
				return nil
			})
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

// removal names the removal of what no entry wants from a daemon.
func removal(system bool) string {
	if system {
		return "containers of System Docker"
	}
	return "containers of user Docker"
}

// chore does something besides the units until it works or the round ends. mu is
// held.
func (r *reconciler) chore(round context.Context, name string, do func(context.Context) error) {
	generation := r.generation
	r.chores[name] = 0
	r.roundWork.Go(func() {
		pauses := backoff{first: firstEntryPause, last: lastEntryPause}
		for {
			err := do(round)
			if round.Err() != nil {
				return
			}
			r.mu.Lock()
			r.chores[name], r.choreErrs[name] = generation, err
			r.wake()
			r.mu.Unlock()
			if err == nil {
				return
			}
			pause, _ := pauses.next(err)
			r.log.Warn("entries of the configuration", "what", name, "err", err, "again_in", pause)
			sleep(round, pause)
		}
	})
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
	if err := r.await(ctx, func() bool { return r.tried(req.Services, generation) }); err != nil {
		return err
	}
	r.mu.Lock()
	err := r.failures(req.Services)
	r.mu.Unlock()
	r.publish()
	return err
}

// tried reports whether entries have been tried since a generation or, if there
// are no names, all that the present round does. mu is held.
func (r *reconciler) tried(names []string, generation int) bool {
	for _, u := range r.units {
		asked := len(names) == 0 || slices.Contains(names, u.next.Name)
		if u.next.Care == plan.Started && asked && u.reported < generation {
			return false
		}
	}
	for _, since := range r.chores {
		if len(names) == 0 && since < generation {
			return false
		}
	}
	return true
}

// failures is what went wrong with entries or, if there are no names, with all
// and with the configuration. mu is held.
func (r *reconciler) failures(names []string) error {
	failed := make(map[string]error)
	for _, u := range r.units {
		asked := len(names) == 0 || slices.Contains(names, u.next.Name)
		if u.next.Care == plan.Started && asked && u.err != nil {
			failed["service "+u.next.Name] = u.err
		}
	}
	var errs []error
	if len(names) == 0 {
		for name, err := range r.choreErrs {
			if err != nil {
				failed[name] = err
			}
		}
		for _, name := range slices.Sorted(maps.Keys(r.wrong)) {
			if failed["service "+name] == nil {
				errs = append(errs, fmt.Errorf("%s: %w", name, r.wrong[name]))
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(failed)) {
		errs = append(errs, fmt.Errorf("%s: %w; it is tried again and again", name, failed[name]))
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
