package pid1

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestEndStepWithin(t *testing.T) {
	st := endStep{limit: time.Minute, least: time.Second}
	for _, tt := range []struct{ left, want time.Duration }{
		{time.Hour, time.Minute},
		{time.Minute, time.Minute},
		{10 * time.Second, 10 * time.Second},
		{time.Millisecond, time.Second},
		{-time.Hour, time.Second},
	} {
		if got := st.within(tt.left).limit; got != tt.want {
			t.Errorf("within(%v) = %v; want %v", tt.left, got, tt.want)
		}
	}
}

func TestReadTimeout(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       time.Duration
		found, bad bool
	}{
		{"none", "", 0, false, false},
		{"seconds", "90\n", 90 * time.Second, true, false},
		{"nonsense", "soon\n", 0, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "timeout")
			if tt.text != "" {
				if err := os.WriteFile(path, []byte(tt.text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			got, found, err := readTimeout(path)
			if got != tt.want || found != tt.found || (err != nil) != tt.bad {
				t.Errorf("readTimeout = %v, %v, %v; want %v, %v, an error: %v", got, found, err, tt.want, tt.found, tt.bad)
			}
		})
	}
}
