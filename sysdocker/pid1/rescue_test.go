package pid1

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-os/bulkhead/sysdocker/layers"
)

func TestNextAttempt(t *testing.T) {
	daemon, containerd := failure{"daemon", errors.New("no")}, failure{"containerd", errors.New("no")}
	tests := []struct {
		name       string
		from       attempt
		f          failure
		configured bool
		ran        time.Duration
		want       attempt // empty: rescue
	}{
		{"operator's settings are dropped first", asConfigured, daemon, true, time.Second, builtIn},
		{"then the store", builtIn, daemon, false, time.Second, freshStore},
		{"once more without settings", asConfigured, daemon, false, time.Second, again},
		{"then the store here too", again, daemon, false, time.Second, freshStore},
		{"then the disk", freshStore, daemon, false, time.Second, inMemory},
		{"then a person", inMemory, daemon, false, time.Second, ""},
		{"containerd does not start", asConfigured, containerd, true, time.Second, freshStore},
		{"containerd does not start on a fresh store", freshStore, containerd, false, time.Second, inMemory},
		{"containerd's databases", asConfigured, failure{"layers", fmt.Errorf("x: %w", layers.ErrDamaged)}, true, time.Second, freshStore},
		{"after a day all is new", builtIn, daemon, false, 24 * time.Hour, again},
		{"even in memory", inMemory, daemon, false, 24 * time.Hour, again},
		{"damage after a day", again, containerd, false, 24 * time.Hour, freshStore},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := tt.from.next(tt.f, tt.configured, tt.ran)
			if got != tt.want || ok != (tt.want != "") {
				t.Errorf("next() = %q, %v; want %q", got, ok, tt.want)
			}
		})
	}
}

func TestAttemptFromEnv(t *testing.T) {
	for text, want := range map[string]attempt{
		"": asConfigured, "nonsense": asConfigured, string(again): again,
		string(builtIn): builtIn, string(inMemory): inMemory, string(freshStore): freshStore,
	} {
		if got := attemptFromEnv(text); got != want {
			t.Errorf("attemptFromEnv(%q) = %q; want %q", text, got, want)
		}
	}
}

func TestSetAsideKeepsTheLatest(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for day := range 3 {
		if err := os.MkdirAll(filepath.Join(dir, "content"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := setAside(dir, now.AddDate(0, 0, day)); err != nil {
			t.Fatal(err)
		}
	}
	if err := setAside(dir+"-missing", now); err != nil {
		t.Errorf("setAside of nothing: %v", err)
	}
	entries, err := os.ReadDir(filepath.Dir(dir))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if diff := cmp.Diff([]string{"store.damaged-20261126T120000"}, got); diff != "" {
		t.Error(diff)
	}
}
