package orchestrator

import (
	"context"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/bulkhead-os/bulkhead/sysdocker/plan"
)

// lookAtClock is how long a wait for a time of day may last before the clock is
// looked at again: it may have been set.
const lookAtClock = time.Minute

// A timetable tells when something is to start.
type timetable struct {
	schedule cron.Schedule
	next     time.Time
}

func newTimetable(schedule cron.Schedule, now time.Time) timetable {
	return timetable{schedule, schedule.Next(now)}
}

// due tells whether a time has come, however many since the last look, and how
// long none will. With a clock that was set back, nothing waits until it is
// where it was.
func (t *timetable) due(now time.Time) (due bool, idle time.Duration) {
	next := t.schedule.Next(now)
	due = !t.next.After(now)
	if due || next.Before(t.next) {
		t.next = next
	}
	return due, min(lookAtClock, t.next.Sub(now))
}

// startAtTimes starts a service that has a schedule at its times, until ctx
// ends. If it still runs then it is left alone.
func (k *keeper) startAtTimes(ctx context.Context, b bringer, c plan.Configured) {
	c.Target, c.Why = plan.ToRun, "its time has come"
	times := newTimetable(c.Schedule, time.Now().UTC())
	for {
		due, idle := times.due(time.Now().UTC())
		if due {
			err := k.startNow(ctx, b, c)
			if ctx.Err() == nil {
				k.log.Info("start at its time", "service", c.Name, "error", err)
				k.problems.ofConfigured(c.Name, err)
			}
		}
		if sleep(ctx, idle); ctx.Err() != nil {
			return
		}
	}
}

func (k *keeper) startNow(ctx context.Context, b bringer, c plan.Configured) error {
	existing, err := b.engine.Containers(ctx, "")
	if err == nil {
		_, err = b.bring(ctx, c, existing)
	}
	return err
}
