package iso

import (
	"testing"
	"time"
)

func TestForecast(t *testing.T) {
	steps := []step{{name: "fetch packages"}, {name: "compile"}, {name: "layers"}, {name: "checksums"}}
	tests := []struct {
		name string
		took []time.Duration // of the first steps
		want string
	}{
		{"as usual", []time.Duration{16 * time.Second}, "at most 5 min left"},
		{"twice as slow", []time.Duration{32 * time.Second}, "at most 11 min left"},
		{"cached steps say nothing about speed", []time.Duration{0, time.Second}, "at most 20 s left"},
		{"nearly done", []time.Duration{0, 0, 0}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newForecast(steps)
			var got string
			for i, took := range tt.took {
				got = f.after(steps[i].name, took)
			}
			if got != tt.want {
				t.Errorf("left = %q; want %q", got, tt.want)
			}
		})
	}
}
