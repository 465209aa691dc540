package orchestrator

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	"github.com/bulkhead-os/bulkhead/internal/testengine"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
	"github.com/bulkhead-os/bulkhead/sysdocker/control"
	"github.com/bulkhead-os/bulkhead/sysdocker/plan"
)

// TestIntegrationEntries has a real daemon run services of a configuration.
func TestIntegrationEntries(t *testing.T) {
	testengine.Require(t)
	busybox := staticBusybox(t)
	engine := testengine.Start(t)
	client, err := dockerapi.New(engine.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	image := newTestMachine(t, engine, client, busybox).loadImage("service", busybox)
	records, err := control.Open(filepath.Join(t.TempDir(), "services.json"))
	if err != nil {
		t.Fatal(err)
	}
	const many = 4
	services := map[string]osconfig.Service{"lost": {Image: "127.0.0.1:1/lost:1", Net: "none"}}
	for i := range many {
		services[fmt.Sprintf("many-%d", i)] = osconfig.Service{
			Image: image, Net: "none", PullPolicy: "never", Restart: "always",
			Entrypoint: osconfig.Words{"/bin/busybox", "sleep", "1000"}, StopGracePeriod: osconfig.Duration(time.Millisecond),
		}
	}
	host := &fakeHost{t: t, selection: osconfig.Selection{Services: services}, booting: make(chan int, 1)}
	daemon := withImages(client, newLog(t))
	r := newReconciler(daemon, daemon, host, records, plan.Inputs{}, newLog(t))
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := r.run(ctx); err != nil {
			t.Error(err)
		}
	})
	defer running.Wait()
	defer stop()
	<-host.booting
	ask := func(verb control.Verb, services ...string) error {
		return r.requestEntries(ctx, control.Request{Verb: verb, Configured: true, Services: services}, func(string) {})
	}
	state := func(name string) dockerapi.State {
		t.Helper()
		containers, err := client.Containers(ctx, plan.LabelConfigured+"="+name)
		if err != nil {
			t.Fatal(err)
		}
		if len(containers) == 0 {
			return ""
		}
		return containers[0].State
	}

	if err := ask(control.Up); err == nil || !strings.HasPrefix(err.Error(), "service lost: pull image 127.0.0.1:1/lost:1: ") {
		t.Errorf("up: %v; want the image that is not to be had", err)
	}
	for i := range many {
		if name := fmt.Sprintf("many-%d", i); state(name) != dockerapi.Running {
			t.Errorf("%s is %q", name, state(name))
		}
	}
	for _, step := range []struct {
		verb control.Verb
		want dockerapi.State
	}{
		{control.Stop, dockerapi.Exited},
		{control.Up, dockerapi.Exited},
		{control.Start, dockerapi.Running},
		{control.Remove, ""},
		{control.Create, dockerapi.Created},
		{control.Up, dockerapi.Running},
	} {
		if err := ask(step.verb, "many-0"); err != nil {
			t.Errorf("%s: %v", step.verb, err)
		}
		if got := state("many-0"); got != step.want {
			t.Errorf("after %s it is %q; want %q", step.verb, got, step.want)
		}
	}
	// Whatever is left keeps the engine from ending soon.
	for i := range many {
		if err := ask(control.Remove, fmt.Sprintf("many-%d", i)); err != nil {
			t.Error(err)
		}
	}
}
