package orchestrator

import (
	"time"

	"github.com/robfig/cron/v3"
)

// lookAtClock is how long a wait for a time of day may last before the clock is
// read again: it may have been set.
const lookAtClock = time.Minute

// timetable returns a function that reports whether a time of the schedule has
// come, however many since the last call, and how long none will. With a clock
// that was set back, nothing waits until it is where it was.
func timetable(schedule cron.Schedule, now time.Time) func(now time.Time) (due bool, idle time.Duration) {
	at := schedule.Next(now)
	return func(now time.Time) (bool, time.Duration) {
		next := schedule.Next(now)
		due := !at.After(now)
		if due || next.Before(at) {
			at = next
		}
		return due, min(lookAtClock, at.Sub(now))
	}
}
