package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
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

func TestConfigured(t *testing.T) {
	web, err := plan.Configure("web", osconfig.Service{Image: "nginx"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	mine := func(state dockerapi.State, spec string) *dockerapi.Container {
		return &dockerapi.Container{ID: "web", Name: "web", State: state, Labels: map[string]string{
			plan.LabelConfigured: "web", plan.LabelSpec: spec,
		}}
	}
	now := web.Spec.Config.Labels[plan.LabelSpec]
	tests := []struct {
		name  string
		have  *dockerapi.Container
		image bool
		want  []string
		err   bool
	}{
		{name: "new", image: true, want: []string{"create web", "start web"}},
		{name: "without image", want: []string{"pull nginx", "create web", "start web"}},
		{name: "running", have: mine(dockerapi.Running, now), image: true},
		{name: "stopped", have: mine(dockerapi.Exited, now), image: true, want: []string{"start web"}},
		{name: "changed", have: mine(dockerapi.Running, "old"), image: true, want: []string{"remove web", "create web", "start web"}},
		{name: "taken", have: &dockerapi.Container{ID: "web", Name: "web"}, image: true, err: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := &registryEngine{fakeEngine: newFakeEngine(), has: tt.image}
			if tt.have != nil {
				e.containers["web"] = tt.have
			}
			if _, err := bringConfigured(t.Context(), e, web, dockerapi.Login{}); (err != nil) != tt.err {
				t.Errorf("error %v; want one: %v", err, tt.err)
			}
			if diff := cmp.Diff(tt.want, e.took()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestConfiguredIsTriedUntilItRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		web, err := plan.Configure("web", osconfig.Service{Image: "nginx"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		e := &registryEngine{fakeEngine: newFakeEngine(), away: true}
		go func() {
			time.Sleep(10 * time.Second)
			e.call("registry", "is back", func() error { e.away = false; return nil })
		}()
		keepTrying(t.Context(), e, web, dockerapi.Login{}, slog.New(slog.DiscardHandler))
		calls := e.took()
		if last := calls[len(calls)-1]; last != "start web" {
			t.Errorf("calls %q; want the last to start web", calls)
		}
	})
}
