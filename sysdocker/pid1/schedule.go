package pid1

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/bulkhead-os/bulkhead/internal/bootlog"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/power"
)

// scheduleLook is how often a scheduled end is compared with the clock, which
// may be set meanwhile.
const scheduleLook = 15 * time.Second

// warnings are how long before a scheduled end notices of it appear, and the
// last one is the end.
var warnings = []time.Duration{15 * time.Minute, 5 * time.Minute, time.Minute, 0}

// nextWarning returns the warning after the one that is due, or -1.
func nextWarning(left time.Duration) int {
	for i, w := range warnings {
		if left > w {
			return i
		}
	}
	return -1
}

// keepSchedule ends the machine when that is scheduled. A PID 1 that was
// restarted goes on with the file that exists.
func (s *system) keepSchedule() {
	for changed := true; ; {
		plan, err := power.ReadSchedule(layout.ShutdownSchedule)
		if err != nil {
			s.log.Error("the end of the machine is not scheduled", "err", err)
		}
		if plan == nil {
			<-s.signals.scheduled
			changed = true
			continue
		}
		if changed {
			s.announce(fmt.Sprintf("bulkhead: %s is scheduled for %s", plan.Action, plan.When()))
		}
		changed = s.awaitSchedule(*plan)
		if changed {
			continue
		}
		if err := os.Remove(layout.ShutdownSchedule); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.log.Warn("scheduled end", "err", err)
		}
		s.signals.order(plan.Action)
	}
}

// awaitSchedule waits for a scheduled end and tells people as it comes closer.
// It returns early, with true, when there is another plan.
func (s *system) awaitSchedule(plan power.Schedule) (changed bool) {
	left := func() time.Duration { return plan.Left(time.Now(), bootlog.Now()) }
	for next := nextWarning(left()); next >= 0; {
		select {
		case <-s.signals.scheduled:
			return true
		case <-time.After(min(max(left()-warnings[next], 0), scheduleLook)):
		}
		if left() > warnings[next] {
			continue
		}
		next = nextWarning(left())
		if !plan.Silent {
			power.Broadcast("/dev/pts", "/proc", plan.Notice())
		}
	}
	return false
}
