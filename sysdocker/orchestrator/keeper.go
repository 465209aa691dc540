package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/version"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
	"github.com/bulkhead-os/bulkhead/os-config/conffile"
	"github.com/bulkhead-os/bulkhead/os-config/datasource/platform"
	"github.com/bulkhead-os/bulkhead/sysdocker/control"
	"github.com/bulkhead-os/bulkhead/sysdocker/plan"
)

// fetchLimit is how long one attempt at a file of services may take.
const fetchLimit = time.Minute

// A keeper runs the services of the configuration. Nothing waits for them: each
// is tried until its container is what it is to be, and from then on its
// restart policy and its daemon look after it. Whoever wants something else
// asks for it, and everything is looked at anew.
type keeper struct {
	system, user configuredEngine
	// read returns what the configuration says now.
	read func() wanted
	// preload loads the archives for one of the daemons.
	preload func(ctx context.Context, system bool)
	// fetch gets the file of a key of rancher.services_include.
	fetch    func(ctx context.Context, key string) error
	records  *control.Store
	problems *problems
	log      *slog.Logger

	orders chan *order

	// reloaded are services after which the configuration has been read again.
	reloaded sync.Map
}

// wanted is what the configuration says about services.
type wanted struct {
	services []plan.Configured
	// wrong is what is wrong, by service, file or key of rancher.services_include.
	wrong map[string]error
	// missing are keys whose file is to be fetched.
	missing []string
	// complete: no service is left out because of a mistake.
	complete bool
	logins   map[string]osconfig.RegistryAuth
}

// An order asks for another look, and for something about a service.
type order struct {
	services []string // all if there are none
	target   plan.Target
	// done gets the first results of these services.
	done chan map[string]error
}

// A result is how a try at a service, or at removing what is not wanted, ended.
type result struct {
	service string
	err     error
	last    bool // of the round: all have been tried
}

// newKeeper returns the keeper of the running system.
func newKeeper(system, user *dockerapi.Client, records *control.Store, problems *problems, log *slog.Logger) *keeper {
	return &keeper{
		system: system, user: user, read: func() wanted { return readWanted(log) },
		preload: func(ctx context.Context, isSystem bool) {
			if isSystem {
				loadArchives(ctx, system, layout.PreloadSystem, log)
			} else {
				loadArchives(ctx, user, layout.PreloadUser, log)
			}
		},
		fetch: fetchServices, records: records, problems: problems, log: log, orders: make(chan *order),
	}
}

// readWanted reads the configuration of the running system. What is wrong with
// it beside the services has been told by the cloud-init service.
func readWanted(log *slog.Logger) wanted {
	cfg, configProblems, err := osconfig.LoadRunning()
	if err != nil {
		log.Warn("configuration is read in part", "error", err)
	}
	selection := cfg.Rancher.Select("", func(name string) ([]byte, error) { return images.Catalogue(name, version.Version) })
	w := wanted{wrong: make(map[string]error), logins: cfg.Rancher.RegistryAuths}
	for _, p := range selection.Problems {
		log.Warn("service file", "problem", p)
		if p.Severity == osconfig.Error {
			w.wrong[p.Source] = errors.Join(w.wrong[p.Source], errors.New(p.String()))
		}
	}
	for _, key := range selection.Missing {
		if osconfig.IsServiceURL(key) {
			w.missing = append(w.missing, key)
			w.wrong[key] = errors.New("not fetched yet")
		} else {
			w.wrong[key] = fmt.Errorf("%s: %w; see ros service enable", osconfig.StoredServices(key), fs.ErrNotExist)
		}
	}
	services, mistakes := plan.Selected(selection, cfg.Rancher.Environment, os.ReadFile)
	for name, mistake := range mistakes {
		log.Error("service of the configuration is left out", "service", name, "error", mistake)
		w.wrong[name] = errors.New(strings.TrimPrefix(mistake.Error(), ": "))
	}
	w.services = services
	w.complete = err == nil && len(mistakes) == 0 && selection.Complete() && !osconfig.AnyError(configProblems)
	return w
}

// fetchServices stores the file of services at an address.
func fetchServices(ctx context.Context, key string) error {
	ctx, cancel := context.WithTimeout(ctx, fetchLimit)
	defer cancel()
	text, err := platform.Download(ctx, key)
	if err != nil {
		return err
	}
	if services, problems := osconfig.ParseServices(key, text); len(services) == 0 {
		return errors.New(problems[0].String())
	}
	file := osconfig.StoredServices(key)
	return conffile.Write(file, text)
}

// run keeps the services until ctx ends.
func (k *keeper) run(ctx context.Context) {
	held := make(map[string]plan.Target)
	var open []*order
	for ctx.Err() == nil {
		round, end := context.WithCancel(ctx)
		results := make(chan result)
		var running sync.WaitGroup
		running.Go(func() { k.round(round, maps.Clone(held), results) })
		o := k.answer(ctx, results, &open)
		// An attempt at what was wanted before must not come after one at what is
		// wanted now.
		end()
		running.Wait()
		if o == nil {
			return
		}
		open = append(open, o)
		for _, name := range o.services {
			held[name] = o.target
		}
		if len(o.services) == 0 {
			clear(held)
		}
		maps.DeleteFunc(held, func(_ string, t plan.Target) bool { return t == plan.ToRun })
	}
}

// answer answers open orders with the results of a round until there is another
// order, which it returns, or ctx ends.
func (k *keeper) answer(ctx context.Context, results <-chan result, open *[]*order) *order {
	all := make(map[string]error)
	for {
		select {
		case r := <-results:
			if r.service == "" { // of both tiers
				r.err = errors.Join(all[""], r.err)
			}
			all[r.service] = r.err
			*open = slices.DeleteFunc(*open, func(o *order) bool {
				tried := func(name string) bool { _, is := all[name]; return is }
				done := r.last || len(o.services) > 0 && !slices.ContainsFunc(o.services, func(name string) bool { return !tried(name) })
				if done {
					o.done <- maps.Clone(all)
				}
				return done
			})
		case o := <-k.orders:
			return o
		case <-ctx.Done():
			return nil
		}
	}
}

// round brings everything in line with the configuration, and goes on trying
// what cannot be done, until ctx ends.
func (k *keeper) round(ctx context.Context, held map[string]plan.Target, results chan<- result) {
	w := k.read()
	k.problems.reset(w.wrong)
	tiers := map[bool][]plan.Configured{true: nil, false: nil} // by Configured.System
	for _, c := range w.services {
		if target, is := held[c.Name]; is {
			c.Target, c.Why = target, "asked for"
		} else if k.records.Get(control.ConfiguredKey(c.Name)).Stopped {
			c.Target, c.Why = plan.ToRest, "ros service stop"
		}
		tiers[c.System] = append(tiers[c.System], c)
	}
	var running, firsts sync.WaitGroup
	begin := func(service string) *attempt {
		firsts.Add(1)
		return &attempt{keeper: k, service: service, results: results, first: sync.OnceFunc(firsts.Done)}
	}
	turns := make(chan struct{}, configuredAtOnce)
	for system, services := range tiers {
		b := bringer{engine: k.user, turns: turns, login: func(image string) dockerapi.Login { return plan.Login(image, w.logins) }}
		if system {
			b.engine = k.system
		}
		attempts := make(map[string]*attempt)
		for _, c := range services {
			attempts[c.Name] = begin(c.Name)
		}
		removal := begin("")
		running.Go(func() {
			k.preload(ctx, system)
			if !w.complete {
				removal.first()
			} else {
				running.Go(func() { removal.try(ctx, func() error { return k.removeUnwanted(ctx, b.engine, services) }) })
			}
			k.bringAll(ctx, b, services, attempts)
		})
	}
	for _, key := range w.missing {
		fetching := begin(key)
		running.Go(func() {
			fetching.try(ctx, func() error {
				if err := k.fetch(ctx, key); err != nil {
					return err
				}
				k.lookAgain(ctx, key) // Its services are in the next round.
				return nil
			})
		})
	}
	running.Go(func() {
		firsts.Wait()
		select {
		case results <- result{last: true}:
		case <-ctx.Done():
		}
	})
	running.Wait()
}

// An attempt is something about a service, or about none, that is tried until it
// works.
type attempt struct {
	*keeper
	service string
	results chan<- result
	first   func() // to be called when the first try is over
}

// try tries until it works or ctx ends.
func (a *attempt) try(ctx context.Context, do func() error) {
	defer a.first() // ctx may end before
	for pause := time.Second; ctx.Err() == nil; pause = min(2*pause, configuredLastPause) {
		err := do()
		if ctx.Err() != nil {
			return
		}
		a.tell(ctx, err)
		if err == nil {
			return
		}
		a.log.Warn("service of the configuration is not as it is to be", "service", a.service, "error", err, "again_in", pause)
		sleep(ctx, pause)
	}
}

// tell tells how a try ended.
func (a *attempt) tell(ctx context.Context, err error) {
	if a.service != "" {
		a.problems.ofConfigured(a.service, err)
	}
	select {
	case a.results <- result{service: a.service, err: err}:
	case <-ctx.Done():
	}
	a.first()
}

// bringAll makes the containers of one daemon what they are to be, and starts
// those that have a schedule at their times from then on.
func (k *keeper) bringAll(ctx context.Context, b bringer, services []plan.Configured, attempts map[string]*attempt) {
	var timed sync.WaitGroup
	defer timed.Wait()
	// One list is enough for the first tries at all of them.
	list, listErr := b.engine.Containers(ctx, "")
	startInOrder(ctx, services, func(c plan.Configured, failed func()) {
		existing, err := list, listErr
		attempts[c.Name].try(ctx, func() error {
			if existing == nil {
				existing, err = b.engine.Containers(ctx, "")
			}
			if err != nil {
				failed()
				return err
			}
			did, err := b.bring(ctx, c, existing)
			existing = nil
			for _, a := range did {
				k.log.Info(string(a.Kind), "service", c.Name, "reason", a.Reason)
			}
			if err == nil {
				err = b.awaitEnd(ctx, c)
			}
			if err != nil {
				failed()
			}
			return err
		})
		if c.Reloads && c.Target == plan.ToRun && ctx.Err() == nil {
			k.reload(ctx, c.Name)
		}
		if c.Schedule != nil && c.Target.HasContainer() {
			timed.Go(func() { k.startAtTimes(ctx, b, c) })
		}
	}, func(c plan.Configured, other string) {
		attempts[c.Name].tell(ctx, fmt.Errorf("waits for service %s", other))
	})
	for _, a := range attempts { // ctx may have ended before their turn
		a.first()
	}
}

// reload has the configuration read again, and everything looked at anew, once
// after the first start of a service: it would start again then, if it ends.
func (k *keeper) reload(ctx context.Context, service string) {
	if _, again := k.reloaded.LoadOrStore(service, true); again {
		return
	}
	k.log.Info("read the configuration again", "after", service)
	k.lookAgain(ctx, service)
}

// lookAgain begins another round because of a service or a file of services.
func (k *keeper) lookAgain(ctx context.Context, because string) {
	select {
	case k.orders <- &order{services: []string{because}, done: make(chan map[string]error, 1)}:
	case <-ctx.Done():
	}
}

// removeUnwanted removes containers whose service is not configured any more.
func (k *keeper) removeUnwanted(ctx context.Context, engine configuredEngine, services []plan.Configured) error {
	names := make(map[string]bool)
	for _, c := range services {
		names[c.Container] = true
	}
	have, err := engine.Containers(ctx, plan.LabelConfigured)
	for _, c := range plan.Unwanted(have, names) {
		k.log.Info("remove a container whose service is not configured any more", "service", c.Name)
		err = errors.Join(err, engine.Remove(ctx, c.ID))
	}
	return err
}

// steer carries out a request about services of the configuration.
func (k *keeper) steer(ctx context.Context, r control.Request, progress func(string)) error {
	k.log.Info("request", "verb", r.Verb, "services", r.Services)
	w := k.read()
	for _, name := range r.Services {
		if err, wrong := w.wrong[name]; wrong {
			return fmt.Errorf("service %s: %w", name, err)
		}
		if !slices.ContainsFunc(w.services, func(c plan.Configured) bool { return c.Name == name }) {
			return fmt.Errorf("there is no service %s in the configuration", name)
		}
	}
	o := &order{services: r.Services, done: make(chan map[string]error, 1)}
	switch r.Verb {
	case control.Up:
	case control.Start, control.Stop:
		stop := r.Verb == control.Stop
		for _, name := range r.Services {
			if err := k.records.Change(control.ConfiguredKey(name), func(r *control.Record) { r.Stopped = stop }); err != nil {
				return err
			}
		}
	case control.Create:
		o.target = plan.ToExist
	case control.Remove:
		o.target = plan.ToGo
	case control.Pull:
		return k.pull(ctx, r.Services, w, progress)
	default:
		return fmt.Errorf("verb %q is unknown", r.Verb)
	}
	select {
	case k.orders <- o:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case results := <-o.done:
		return failures(r.Services, results, w.wrong)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// failures is what went wrong with services or, if there are none, with all and
// with the configuration.
func failures(services []string, results, wrong map[string]error) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(wrong)) {
		if _, tried := results[name]; !tried && len(services) == 0 {
			errs = append(errs, fmt.Errorf("%s: %w", name, wrong[name]))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(results)) {
		switch err := results[name]; {
		case err == nil, len(services) > 0 && !slices.Contains(services, name):
		case name == "":
			errs = append(errs, err)
		default:
			errs = append(errs, fmt.Errorf("service %s: %w; it is tried again and again", name, err))
		}
	}
	return errors.Join(errs...)
}

// pull gets the images of services or, if there are none, of all, whether they
// are there or not.
func (k *keeper) pull(ctx context.Context, services []string, w wanted, progress func(string)) error {
	var errs []error
	for _, c := range w.services {
		if len(services) > 0 && !slices.Contains(services, c.Name) {
			continue
		}
		engine := k.user
		if c.System {
			engine = k.system
		}
		image := c.Spec.Config.Image
		progress("pulling " + image)
		if err := engine.PullImage(ctx, image, plan.Login(image, w.logins)); err != nil {
			errs = append(errs, fmt.Errorf("service %s: %w", c.Name, err))
		}
	}
	return errors.Join(errs...)
}
