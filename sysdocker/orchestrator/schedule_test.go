package orchestrator

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	osconfig "github.com/bulkhead-os/bulkhead/os-config"
	"github.com/bulkhead-os/bulkhead/sysdocker/plan"
)

func TestTimetable(t *testing.T) {
	at := func(clock string) time.Time {
		when, err := time.Parse(time.DateTime, "2026-11-26 "+clock)
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	service := func(name, schedule string, target plan.Target) plan.Configured {
		s, err := osconfig.ParseSchedule(schedule)
		if err != nil {
			t.Fatal(err)
		}
		return plan.Configured{Name: name, Schedule: s, Target: target}
	}
	times := newTimetable([]plan.Configured{
		service("hourly", "@hourly", plan.ToExist),
		service("early", "30 0 3 * * ?", plan.ToRun), // with seconds
		service("stopped", "* * * * *", plan.ToRest),
		{Name: "always"},
	}, at("02:59:00"))

	for _, tt := range []struct {
		clock string
		due   []string
		idle  time.Duration
	}{
		{"02:59:00", nil, time.Minute},
		{"02:59:50", nil, 10 * time.Second},
		{"03:00:00", []string{"hourly"}, 30 * time.Second},
		{"03:00:30", []string{"early"}, time.Minute},
		{"03:00:31", nil, time.Minute},
		{"17:20:00", []string{"hourly"}, time.Minute}, // once for all that was missed
		{"17:59:45", nil, 15 * time.Second},
		{"01:59:45", nil, 15 * time.Second}, // the clock was set back
		{"02:00:00", []string{"hourly"}, time.Minute},
	} {
		due, idle := times.due(at(tt.clock))
		var names []string
		for _, c := range due {
			names = append(names, c.Name)
			if c.Target != plan.ToRun {
				t.Errorf("%s: %s is not to run", tt.clock, c.Name)
			}
		}
		if diff := cmp.Diff(tt.due, names); diff != "" || idle != tt.idle {
			t.Errorf("%s: due (-want +got)\n%s\nidle %v; want %v", tt.clock, diff, idle, tt.idle)
		}
	}
}
