package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
	"github.com/bulkhead-os/bulkhead/sysdocker/control"
	"github.com/bulkhead-os/bulkhead/sysdocker/plan"
)

// registryEngine is a fakeEngine whose images come from a registry.
type registryEngine struct {
	*fakeEngine
	has, away bool // the image; the registry
}

func (e *registryEngine) Create(ctx context.Context, name string, spec dockerapi.Spec) (string, error) {
	if !e.has {
		return "", fmt.Errorf("create: %w", errdefs.ErrNotFound)
	}
	return e.fakeEngine.Create(ctx, name, spec)
}

func (e *registryEngine) PullImage(_ context.Context, ref string, _ dockerapi.Login) error {
	return e.call("pull", ref, func() error {
		if e.away {
			return errors.New("no route to host")
		}
		e.has = true
		return nil
	})
}

func (e *registryEngine) Image(context.Context, string) (dockerapi.Image, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.has {
		return dockerapi.Image{}, errdefs.ErrNotFound
	}
	return dockerapi.Image{}, nil
}

func (e *registryEngine) SetRestart(_ context.Context, id string, policy dockerapi.RestartPolicy) error {
	return e.call("restart "+string(policy.Name), id, func() error { return nil })
}

func (e *registryEngine) EnsureNetwork(_ context.Context, name string, _ map[string]string) error {
	return e.call("network", name, func() error { return nil })
}

// configured is the service web.
func configured(t *testing.T, s osconfig.Service) plan.Want {
	t.Helper()
	list, mistakes := plan.Configure(map[string]osconfig.Service{"web": s}, nil, os.ReadFile)
	if len(mistakes) > 0 {
		t.Fatal(mistakes)
	}
	return list[0]
}

// bring has a unit bring up a container once.
func (e *registryEngine) bring(t *testing.T, w plan.Want) error {
	t.Helper()
	records, err := control.Open(filepath.Join(t.TempDir(), "services.json"))
	if err != nil {
		t.Fatal(err)
	}
	r := newReconciler(e, e, &fakeHost{t: t}, records, plan.Inputs{}, newLog(t))
	u := r.newUnit("web", w)
	r.give(u, w, nil)
	u.nextGen = 1
	pass, end, list := u.begin(t.Context())
	defer end()
	return u.bring(t.Context(), pass, list)
}

func TestEntry(t *testing.T) {
	web := configured(t, osconfig.Service{Image: "nginx", Restart: "always"})
	mine := func(state dockerapi.State, spec string) *dockerapi.Container {
		return &dockerapi.Container{ID: "web", Name: "web", State: state, Labels: map[string]string{
			plan.LabelConfigured: "web", plan.LabelSpec: spec,
		}}
	}
	now := web.Spec.Config.Labels[plan.LabelSpec]
	tests := []struct {
		name   string
		target plan.Target
		have   *dockerapi.Container
		image  bool
		away   bool
		want   []string
		err    bool
	}{
		{name: "new", image: true, want: []string{"create web", "start web"}},
		{name: "without image", want: []string{"pull nginx", "create web", "start web"}},
		{name: "running", have: mine(dockerapi.Running, now), image: true},
		{name: "stopped", have: mine(dockerapi.Exited, now), image: true, want: []string{"restart always web", "start web"}},
		{name: "changed", have: mine(dockerapi.Running, "old"), image: true, want: []string{"remove web", "create web", "start web"}},
		{name: "changed, and its registry is away", have: mine(dockerapi.Running, "old"), away: true, want: []string{"pull nginx"}, err: true},
		{name: "to rest", target: plan.Stopped, have: mine(dockerapi.Running, now), want: []string{"restart no web", "stop web"}},
		{name: "taken", have: &dockerapi.Container{ID: "web", Name: "web"}, image: true, err: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := &registryEngine{fakeEngine: newFakeEngine(), has: tt.image, away: tt.away}
			if tt.have != nil {
				e.containers["web"] = tt.have
			}
			c := web
			c.Target = tt.target
			if err := e.bring(t, c); (err != nil) != tt.err {
				t.Errorf("error %v; want one: %v", err, tt.err)
			}
			if diff := cmp.Diff(tt.want, e.took()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEntryWithNetworksAndPullPolicy(t *testing.T) {
	for _, tt := range []struct {
		service osconfig.Service
		image   bool
		want    []string
	}{
		{osconfig.Service{Image: "nginx", Networks: osconfig.Names{"a", "b"}, ContainerName: "site"}, true, []string{"network a", "network b", "create site", "start site"}},
		{osconfig.Service{Image: "nginx", PullPolicy: "always"}, true, []string{"pull nginx", "create web", "start web"}},
		{osconfig.Service{Image: "nginx", PullPolicy: "never"}, false, nil},
	} {
		e := &registryEngine{fakeEngine: newFakeEngine(), has: tt.image}
		err := e.bring(t, configured(t, tt.service))
		if diff := cmp.Diff(tt.want, e.took()); diff != "" || (err == nil) != (tt.want != nil) {
			t.Errorf("%+v: %v\n%s", tt.service, err, diff)
		}
	}
}

func TestEntriesStartInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := keep(t, map[string]osconfig.Service{
			"a": {Image: "i", DependsOn: osconfig.Names{"b", "c"}}, "b": {Image: "i", DependsOn: osconfig.Names{"c"}}, "c": {Image: "i"}, "d": {Image: "i"},
		}, func(b *keptBench) { b.engine.slowly = map[string]time.Duration{"c": time.Minute} })
		time.Sleep(2 * time.Minute)
		started := slices.DeleteFunc(b.engine.took(), func(call string) bool { return !strings.HasPrefix(call, "start ") })
		if diff := cmp.Diff([]string{"start d", "start c", "start b", "start a"}, started); diff != "" {
			t.Error(diff)
		}
	})
}

// A keptBench is a reconciler without OS services on two fake daemons, in a
// synctest bubble.
type keptBench struct {
	*fakeHost
	engine *registryEngine // user Docker
}

func keep(t *testing.T, services map[string]osconfig.Service, before ...func(*keptBench)) *keptBench {
	t.Helper()
	records, err := control.Open(filepath.Join(t.TempDir(), "services.json"))
	if err != nil {
		t.Fatal(err)
	}
	b := &keptBench{engine: &registryEngine{fakeEngine: newFakeEngine()}}
	system := &registryEngine{fakeEngine: newFakeEngine()}
	b.fakeHost = &fakeHost{t: t, engine: system.fakeEngine, complete: true}
	b.want(services)
	for _, f := range before {
		f(b)
	}
	r := newReconciler(system, b.engine, b.fakeHost, records, plan.Inputs{}, newLog(t))
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := r.run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		stop()
		running.Wait()
	})
	synctest.Wait() // The first round has begun.
	return b
}

// want is another configuration.
func (b *keptBench) want(services map[string]osconfig.Service) {
	b.selection = osconfig.Selection{Services: services}
}

// ask sends a request and returns its error and the calls of user Docker.
func (b *keptBench) ask(t *testing.T, verb control.Verb, service string) (string, []string) {
	t.Helper()
	r := control.Request{Verb: verb, Configured: true}
	if service != "" {
		r.Services = []string{service}
	}
	err := b.handle(t.Context(), r, func(string) {})
	synctest.Wait()
	text := ""
	if err != nil {
		text = err.Error()
	}
	return text, b.engine.took()
}

func (b *keptBench) told() map[string]string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.status.Configured
}

func TestEntriesAreTriedUntilTheyRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := keep(t, map[string]osconfig.Service{"web": {Image: "nginx"}, "kin": {Image: "nginx", DependsOn: osconfig.Names{"web"}, Labels: osconfig.Labels{"a": "b"}}, "bad": {Image: "a", DNS: osconfig.StringList{"x"}}},
			func(b *keptBench) { b.engine.away = true })
		time.Sleep(10 * time.Second)
		if err, _ := b.ask(t, control.Up, ""); !strings.Contains(err, "service kin: waits for service web") {
			t.Errorf("error %q", err)
		}
		if told := b.told(); told["web"] != "no route to host" || told["kin"] != "waits for service web" || !strings.Contains(told["bad"], "dns") {
			t.Errorf("problems %q", told)
		}
		b.engine.call("registry", "is back", func() error { b.engine.away = false; return nil })
		time.Sleep(10 * time.Minute)
		calls := b.engine.took()
		if last := calls[len(calls)-2:]; last[0] != "create kin" || last[1] != "start kin" {
			t.Errorf("calls %q; want the last to start kin", calls)
		}
		if told := b.told(); len(told) != 1 {
			t.Errorf("problems %q; want that of bad only", told)
		}
	})
}

func TestEntriesAsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		web := map[string]osconfig.Service{"web": {Image: "nginx", Restart: "always"}, "db": {Image: "db"}}
		b := keep(t, web)
		synctest.Wait()
		b.engine.took()
		for _, step := range []struct {
			verb    control.Verb
			service string
			calls   []string
			err     string
		}{
			{verb: control.Up},
			{verb: control.Pull, service: "web", calls: []string{"pull nginx"}},
			{verb: control.Stop, service: "web", calls: []string{"restart no web", "stop web"}},
			{verb: control.Up},
			{verb: control.Start, service: "web", calls: []string{"restart always web", "start web"}},
			{verb: control.Remove, service: "web", calls: []string{"remove web"}},
			{verb: control.Create, service: "web", calls: []string{"create web"}},
			{verb: control.Up, service: "db"},
			{verb: control.Up, calls: []string{"restart always web", "start web"}},
			{verb: control.Stop, service: "wbe", err: "there is no service wbe in the configuration"},
			{verb: control.Upgrade, service: "web", err: "unknown"},
		} {
			err, calls := b.ask(t, step.verb, step.service)
			if diff := cmp.Diff(step.calls, calls); diff != "" || !strings.Contains(err, step.err) || (err == "") != (step.err == "") {
				t.Errorf("%s %s: error %q; want %q\n%s", step.verb, step.service, err, step.err, diff)
			}
		}
		delete(web, "db")
		b.want(web)
		if err, calls := b.ask(t, control.Up, ""); err != "" || !cmp.Equal(calls, []string{"remove db"}) {
			t.Errorf("without db: %s, %q; want it removed", err, calls)
		}
		b.engine.call("image", "is lost", func() error { b.engine.has, b.engine.away = false, true; return nil })
		b.want(map[string]osconfig.Service{"web": {Image: "other"}, "db": {Image: "db", DNS: osconfig.StringList{"x"}}})
		err, calls := b.ask(t, control.Up, "")
		for _, want := range []string{"rancher.services.db.dns", "service web: no route to host; it is tried again and again"} {
			if !strings.Contains(err, want) {
				t.Errorf("error %q does not say %q", err, want)
			}
		}
		if slices.Contains(calls, "remove web") {
			t.Error("the previous container is gone though there is no new one")
		}
	})
}

func TestEntriesOfAnAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := keep(t, nil)
		synctest.Wait()
		b.selection.Missing = []string{"https://example.org/x.yml"}
		tries := 0
		b.fetching = func() error {
			if tries++; tries == 1 {
				return errors.New("answer 500")
			}
			b.want(map[string]osconfig.Service{"far": {Image: "far"}})
			return nil
		}
		err, _ := b.ask(t, control.Up, "")
		if !strings.Contains(err, "service https://example.org/x.yml: answer 500") {
			t.Errorf("error %q", err)
		}
		time.Sleep(time.Minute)
		if calls := b.engine.took(); !slices.Contains(calls, "start far") {
			t.Errorf("calls %q; want the service of the file to start", calls)
		}
	})
}

// A service that ends and changes the configuration: what comes after it waits,
// and the configuration is read again.
func TestEntriesWaitForAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		services := map[string]osconfig.Service{
			"setup": {Image: "a", Labels: osconfig.Labels{"io.rancher.os.detach": "false", "io.rancher.os.reloadconfig": "true"}},
			"web":   {Image: "a", Labels: osconfig.Labels{"io.rancher.os.after": "setup"}},
		}
		b := keep(t, services)
		end := func() {
			b.engine.call("end of", "setup", func() error { b.engine.containers["setup"].State = dockerapi.Exited; return nil })
		}
		time.Sleep(time.Minute)
		if calls := b.engine.took(); slices.Contains(calls, "start web") || !slices.Contains(calls, "start setup") {
			t.Errorf("while setup runs: calls %q; want web not to start", calls)
		}
		services["more"] = osconfig.Service{Image: "a"}
		b.want(services)
		end()
		time.Sleep(10 * time.Second) // It starts once more, with all others.
		if calls := b.engine.took(); slices.Contains(calls, "start web") || !slices.Contains(calls, "start more") {
			t.Errorf("after setup: calls %q; want what is new in the configuration to start", calls)
		}
		end()
		time.Sleep(10 * time.Second)
		if diff := cmp.Diff([]string{"end of setup", "create web", "start web"}, b.engine.took()); diff != "" {
			t.Error(diff)
		}
	})
}

// What starts at times is first made, and not by two at once.
func TestEntriesStartAtTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := keep(t, nil)
		b.engine.has, b.engine.slowStart = true, 5*time.Second
		b.want(map[string]osconfig.Service{"clock": {Image: "nginx", Labels: osconfig.Labels{osconfig.LabelSchedule: "* * * * * *"}}})
		err, calls := b.ask(t, control.Up, "clock")
		time.Sleep(20 * time.Second) // it runs on
		calls = append(calls, b.engine.took()...)
		if diff := cmp.Diff([]string{"create clock", "start clock"}, calls); err != "" || diff != "" {
			t.Errorf("error %q, calls differ:\n%s", err, diff)
		}
		b.engine.slowStart = 0
		b.engine.call("end", "clock", func() error { b.engine.containers["clock"].State = dockerapi.Exited; return nil })
		time.Sleep(1500 * time.Millisecond)
		if calls := b.engine.took(); calls[len(calls)-1] != "start clock" {
			t.Errorf("calls %q; want a start at its time", calls)
		}
	})
}
