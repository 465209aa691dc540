package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-os/bulkhead/internal/layout"
)

func TestSetClock(t *testing.T) {
	made := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name  string
		now   time.Time
		known time.Time
		want  []string
	}{
		{"right", made.Add(time.Hour), made.Add(time.Minute), nil},
		{"no battery", time.Unix(0, 0), time.Time{}, []string{"clock 2026-11-30T12:00:00Z"}},
		{"no battery, with a state", time.Unix(0, 0), made.Add(48 * time.Hour), []string{"clock 2026-12-02T12:00:00Z"}},
		{"a state older than the build", made.Add(-time.Hour), made.Add(-2 * time.Hour), []string{"clock 2026-11-30T12:00:00Z"}},
		{"behind the state", made.Add(time.Hour), made.Add(2 * time.Hour), []string{"clock 2026-11-30T14:00:00Z"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake("")
			f.now, f.times = tt.now, map[string]time.Time{layout.LastTime: tt.known}
			b := newBoot(f)
			b.built = made
			if err := setClock(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, f.calls); diff != "" {
				t.Error(diff)
			}
		})
	}
}
