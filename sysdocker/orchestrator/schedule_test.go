package orchestrator

import (
	"testing"
	"time"

	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

func TestTimetable(t *testing.T) {
	at := func(clock string) time.Time {
		when, err := time.Parse(time.DateTime, "2026-11-26 "+clock)
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	type look struct {
		clock string
		due   bool
		idle  time.Duration
	}
	for schedule, looks := range map[string][]look{
		"@hourly": {
			{"02:59:00", false, time.Minute},
			{"02:59:50", false, 10 * time.Second},
			{"03:00:00", true, time.Minute},
			{"03:00:30", false, time.Minute},
			{"17:20:00", true, time.Minute}, // once for all that was missed
			{"17:59:45", false, 15 * time.Second},
			{"01:59:45", false, 15 * time.Second}, // the clock was set back
			{"02:00:00", true, time.Minute},
		},
		"30 0 3 * * ?": { // with seconds
			{"03:00:00", false, 30 * time.Second},
			{"03:00:30", true, time.Minute},
			{"03:00:31", false, time.Minute},
		},
	} {
		parsed, err := osconfig.ParseSchedule(schedule)
		if err != nil {
			t.Fatal(err)
		}
		times := timetable(parsed, at("02:58:00"))
		for _, want := range looks {
			if due, idle := times(at(want.clock)); due != want.due || idle != want.idle {
				t.Errorf("%s at %s: due %v, idle %v; want %v, %v", schedule, want.clock, due, idle, want.due, want.idle)
			}
		}
	}
}
