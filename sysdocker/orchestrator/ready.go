package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/bulkhead-os/bulkhead/internal/bootlog"
	"github.com/bulkhead-os/bulkhead/internal/wait"
)

// readyLimit is how long a service may take to become ready when its
// declaration does not say.
const readyLimit = time.Minute

// ready returns a channel that is closed when the service is ready.
func (u *unit) ready(ctx context.Context) <-chan struct{} {
	ready := make(chan struct{})
	if u.service.Decl.Ready == nil {
		close(ready)
		return ready
	}
	c := noted{u.condition(*u.service.Decl.Ready), u}
	go func() {
		err := wait.Until(ctx, c, func(waited time.Duration, last error) {
			u.log.Info("waiting", "for", c, "since", waited.Round(time.Second), "last", last)
		})
		if err == nil {
			close(ready)
		}
	}()
	return ready
}

// noted is a condition that keeps its last answer for the report of a service
// that is late, and lets nobody wait for one that says it cannot be ready.
type noted struct {
	wait.Condition
	unit *unit
}

func (n noted) Check(ctx context.Context) error {
	err := n.Condition.Check(ctx)
	if err == nil {
		return nil
	}
	n.unit.note("waiting for %s: %v", n.Condition, err)
	declared := n.unit.service.Decl.Ready
	if why, readErr := os.ReadFile(declared.Failure); readErr == nil {
		n.unit.settle(errors.New(strings.TrimSpace(string(why))))
	}
	if _, statErr := os.Stat(declared.Waiting); statErr == nil {
		n.unit.giveLead()
	}
	return err
}

// note keeps what the unit is doing.
func (u *unit) note(format string, args ...any) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.doing = fmt.Sprintf(format, args...)
}

// startClock starts, once, the time that the service has for becoming ready:
// when its container has been started, or when that failed.
func (u *unit) startClock() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.clock != nil {
		return
	}
	limit := readyLimit
	if r := u.service.Decl.Ready; r != nil && r.Timeout > 0 {
		limit = time.Duration(r.Timeout)
	}
	if u.began == 0 {
		u.began = bootlog.Now()
	}
	u.clock = time.AfterFunc(limit, func() {
		u.mu.Lock()
		doing := u.doing
		u.mu.Unlock()
		u.settle(fmt.Errorf("not ready after %s: %s", limit, doing))
	})
}

func (u *unit) stopClock() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.clock != nil {
		u.clock.Stop()
	}
}

// settle lets those go on that wait for this service. Only the first call
// counts; err is what the service is late with.
func (u *unit) settle(err error) {
	u.mu.Lock()
	first := !u.isSettled
	wasLate := u.isLate
	u.isSettled = true
	u.isLate = err != nil
	began := u.began
	u.mu.Unlock()
	switch {
	case first:
		u.stopClock()
		u.giveLead()
		u.supervisor.settled(u.service, began, err)
		close(u.settled)
	case wasLate && err == nil:
		u.supervisor.recovered(u.service)
	case err == nil:
		u.log.Info("service is ready again")
	}
}

func (u *unit) hasSettled() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.isSettled
}

// release lets those go on that wait for a service which is not to run.
func (u *unit) release() {
	u.mu.Lock()
	first := !u.isSettled
	u.isSettled = true
	u.mu.Unlock()
	if first {
		u.stopClock()
		close(u.settled)
	}
}
