package budget

import (
	"testing"
	"time"
)

func TestConfigurationFigures(t *testing.T) {
	got, err := parseTimings("x: warning: y\nros: read and checked in 12.5 ms of processor time\n")
	if err != nil || got != 12500*time.Microsecond {
		t.Errorf("parseTimings = %v, %v; want 12.5 ms", got, err)
	}
	if _, err := parseTimings("ros: no such option"); err == nil {
		t.Error("no error without a time")
	}
	got, err = readingAtBoot([]byte(`{"steps": [{"name": "cloud-init/local", "start": 5.5, "end": 5.75},
		{"name": "cloud-init/load", "start": 5.75, "end": 6}, {"name": "cloud-init/network", "start": 6, "end": 16}]}`))
	if err != nil || got != 500*time.Millisecond {
		t.Errorf("readingAtBoot = %v, %v; want 500 ms", got, err)
	}
	if _, err := readingAtBoot([]byte(`{"steps": []}`)); err == nil {
		t.Error("no error without steps")
	}
}
