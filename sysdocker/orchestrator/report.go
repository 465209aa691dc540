package orchestrator

import (
	"fmt"
	"time"

	"github.com/bulkhead-os/bulkhead/internal/bootlog"
	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	"github.com/bulkhead-os/bulkhead/sysdocker/plan"
)

// show makes known what the unit is doing.
func (u *unit) show(s State, doing string) {
	u.r.mu.Lock()
	defer u.r.mu.Unlock()
	u.showLocked(s, doing)
}

func (u *unit) showLocked(s State, doing string) {
	if s == Starting && u.late {
		s = Late
	}
	if !mayFollow(u.state, s) {
		u.log.Error("BUG: state does not follow", "from", u.state, "to", s)
	}
	if u.doing = doing; u.state != s {
		u.state = s
		u.r.wake()
	}
}

// note keeps what the unit is doing without a change of its state.
func (u *unit) note(format string, args ...any) {
	u.r.mu.Lock()
	defer u.r.mu.Unlock()
	u.doing = fmt.Sprintf(format, args...)
}

// report says how the attempt at what is wanted went, and what the unit does now.
func (u *unit) report(s State, err error) {
	u.r.mu.Lock()
	defer u.r.mu.Unlock()
	if u.reported != u.generation || u.err != nil {
		u.health = ""
	}
	u.reported, u.err = u.generation, err
	doing := u.doing
	switch {
	case err != nil:
		doing = err.Error()
		u.problem = doing
		if u.want.Care == plan.Kept {
			u.problem = "it " + doing
		}
	case s == "":
		s = u.state
	default:
		doing, u.ready, u.problem = "", u.generation, ""
	}
	u.showLocked(s, doing)
	u.r.wake()
}

// complain notes what is wrong besides what is wanted, nil for nothing.
func (u *unit) complain(err error) {
	u.r.mu.Lock()
	defer u.r.mu.Unlock()
	u.problem = ""
	if err != nil {
		u.problem = err.Error()
	}
	u.r.wake()
}

// isAsked reports whether a request about the unit is carried out.
func (u *unit) isAsked() bool {
	u.r.mu.Lock()
	defer u.r.mu.Unlock()
	return u.asked
}

// noteHealth keeps what the container's health check says.
func (u *unit) noteHealth(health string) {
	u.r.mu.Lock()
	defer u.r.mu.Unlock()
	u.health = health
	u.r.wake()
}

// there reports whether those that come after the unit in a generation may go
// on. reconciler.mu is held.
func (u *unit) there(generation int) bool {
	if u.next.Care == plan.Kept {
		return u.released
	}
	return u.reported >= generation && u.err == nil
}

// failing reports whether an attempt at an entry failed. reconciler.mu is held.
func (u *unit) failing(generation int) bool {
	return u.next.Care == plan.Started && u.reported >= generation && u.err != nil
}

// well returns what keeps the unit from being well in a generation.
// reconciler.mu is held.
func (u *unit) well(generation int) error {
	switch {
	case u.reported < generation:
		return errNotStarted
	case u.err != nil:
		return fmt.Errorf("it %w", u.err)
	case u.next.Decl.Healthcheck == nil || u.health == dockerapi.Healthy:
		return nil
	case u.health == "":
		return fmt.Errorf("it %w", errNotHealthy)
	}
	return fmt.Errorf("it %w: %s", errNotHealthy, u.health)
}

// startClock starts, once, the time that the service has for becoming ready:
// when its container has been started, or when that failed.
func (u *unit) startClock() {
	w := u.want
	u.r.mu.Lock()
	defer u.r.mu.Unlock()
	if u.clock != nil {
		return
	}
	limit := readyLimit
	if r := w.Decl.Ready; r != nil && r.Timeout > 0 {
		limit = time.Duration(r.Timeout)
	}
	if u.began == 0 {
		u.began = bootlog.Now()
	}
	u.clock = time.AfterFunc(limit, func() {
		u.r.mu.Lock()
		doing := u.doing
		u.r.mu.Unlock()
		u.settle(w, fmt.Errorf("not ready after %s: %s", limit, doing))
	})
}

func (u *unit) stopClock() {
	u.r.mu.Lock()
	defer u.r.mu.Unlock()
	if u.clock != nil {
		u.clock.Stop()
	}
}

// settle lets those go on that wait for this service. Only the first call
// counts; err is what the service is late with.
func (u *unit) settle(w plan.Want, err error) {
	u.r.mu.Lock()
	first, wasLate, began := !u.settled, u.late, u.began
	u.settled, u.late = true, err != nil
	if u.state == Starting {
		u.showLocked(Starting, u.doing) // It may be late now.
	}
	u.r.mu.Unlock()
	switch {
	case first:
		u.stopClock()
		u.giveLead()
		u.r.host.settled(w, began, err)
		u.release()
	case wasLate && err == nil:
		u.r.host.recovered(w)
	case err == nil:
		u.log.Info("service is ready again")
	}
}

func (u *unit) hasSettled() bool {
	u.r.mu.Lock()
	defer u.r.mu.Unlock()
	return u.settled
}

// release lets those go on that wait for this service.
func (u *unit) release() {
	u.stopClock()
	u.r.mu.Lock()
	defer u.r.mu.Unlock()
	u.settled, u.released = true, true
	u.r.wake()
}
