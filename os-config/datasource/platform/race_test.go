package platform

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	osconfig "github.com/bulkhead-os/bulkhead/os-config"
	"github.com/bulkhead-os/bulkhead/os-config/datasource"
)

// after is a source that answers after a time; a result with err is good in
// part when it has an instance id.
func after(d time.Duration, id string, err error) Source {
	return Source{Name: id, Network: true, Fetch: func(ctx context.Context) (datasource.Result, error) {
		select {
		case <-time.After(d):
			return datasource.Result{Metadata: osconfig.Metadata{InstanceID: id}}, err
		case <-ctx.Done():
			return datasource.Result{}, ctx.Err()
		}
	}}
}

func TestAsk(t *testing.T) {
	const s, never = time.Second, time.Hour
	fault := errors.New("fault")
	tests := []struct {
		name     string
		sources  []Source
		want     int
		wantTook time.Duration
	}{
		{"none", nil, -1, 0},
		{"one", []Source{after(3*s, "a", nil)}, 0, 3 * s},
		{"good in part", []Source{after(s, "a", fault)}, 0, s},
		{"absent", []Source{after(s, "", ErrAbsent)}, -1, s},
		{"all absent", []Source{after(s, "", ErrAbsent), after(2*s, "", fault)}, -1, 2 * s},
		{"the preferred is quick", []Source{after(s/2, "a", nil), after(0, "b", nil)}, 0, s / 2},
		{"the preferred is a little late", []Source{after(2500*time.Millisecond, "a", nil), after(2*s, "b", nil)}, 0, 2500 * time.Millisecond},
		{"the preferred is too late", []Source{after(4*s, "a", nil), after(2*s, "b", nil)}, 1, 3 * s},
		{"the preferred is absent", []Source{after(4*s, "", ErrAbsent), after(5*s, "b", nil)}, 1, 5 * s},
		{"the preferred is silent", []Source{after(never, "a", nil), after(2*s, "b", nil)}, 1, 3 * s},
		{"the other is silent", []Source{after(s, "a", nil), after(never, "b", nil)}, 0, s},
		{"all silent", []Source{after(never, "a", nil), after(never, "b", nil)}, -1, 10 * s},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 10*s)
				defer cancel()
				start := time.Now()
				answers, best := Ask(ctx, tt.sources)
				if took := time.Since(start); best != tt.want || took != tt.wantTook {
					t.Errorf("Ask = %d after %s; want %d after %s", best, took, tt.want, tt.wantTook)
				}
				if len(answers) != len(tt.sources) {
					t.Fatalf("%d answers; want %d", len(answers), len(tt.sources))
				}
				for n, a := range answers {
					if n == best && !a.Found || best < 0 && a.Err == nil {
						t.Errorf("answer %d = %+v", n, a)
					}
				}
			})
		})
	}
}

// TestAskDeaf bounds a source that does not heed its context.
func TestAskDeaf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		release := make(chan struct{})
		defer close(release)
		start := time.Now()
		answers, best := Ask(ctx, []Source{{Name: "deaf", Fetch: func(context.Context) (datasource.Result, error) {
			<-release
			return datasource.Result{}, nil
		}}})
		if took := time.Since(start); best != -1 || took != time.Second+lastWords || answers[0].Err == nil {
			t.Errorf("Ask = %v, %d after %s", answers, best, took)
		}
	})
}
