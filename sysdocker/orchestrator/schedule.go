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

// A timetable tells when services with a schedule are to start.
type timetable []departure

type departure struct {
	service  plan.Configured
	schedule cron.Schedule
	next     time.Time
}

// newTimetable has the services that have a schedule and are not to rest.
func newTimetable(services []plan.Configured, now time.Time) timetable {
	var t timetable
	for _, c := range services {
		if c.Schedule != nil && (c.Target == plan.ToRun || c.Target == plan.ToExist) {
			c.Target, c.Why = plan.ToRun, "its time has come"
			t = append(t, departure{c, c.Schedule, c.Schedule.Next(now)})
		}
	}
	return t
}

// due returns the services whose time has come, however often since the last
// look, and how long nothing else is due. A clock that was set back has no
// service wait until it is where it was.
func (t timetable) due(now time.Time) (due []plan.Configured, idle time.Duration) {
	idle = lookAtClock
	for i := range t {
		d := &t[i]
		next := d.schedule.Next(now)
		if !d.next.After(now) {
			due = append(due, d.service)
		} else if d.next.Before(next) {
			next = d.next
		}
		d.next = next
		idle = min(idle, next.Sub(now))
	}
	return due, idle
}

// startAtTimes starts the services of one daemon that have a schedule, each at
// its times, until ctx ends. One that still runs then is left alone.
func (k *keeper) startAtTimes(ctx context.Context, b bringer, services []plan.Configured) {
	times := newTimetable(services, time.Now().UTC())
	for len(times) > 0 && ctx.Err() == nil {
		due, idle := times.due(time.Now().UTC())
		for _, c := range due {
			err := k.startNow(ctx, b, c)
			if ctx.Err() != nil {
				return
			}
			k.log.Info("start at its time", "service", c.Name, "error", err)
			k.problems.ofConfigured(c.Name, err)
		}
		sleep(ctx, idle)
	}
}

func (k *keeper) startNow(ctx context.Context, b bringer, c plan.Configured) error {
	existing, err := b.engine.Containers(ctx, "")
	if err == nil {
		_, err = b.bring(ctx, c, existing)
	}
	return err
}
