package orchestrator

import (
	"log/slog"
	"time"

	"github.com/bulkhead-os/bulkhead/sysdocker/plan"
)

// Pauses before a service is brought up again.
const (
	firstPause = 500 * time.Millisecond
	lastPause  = 30 * time.Second
	// calmAfter is how long a service has to run well before the past is
	// forgotten.
	calmAfter = time.Minute
)

// A problem is why a service has to be brought up again.
type problem int

const (
	none problem = iota
	failedStart
	ended // or was removed
	unhealthy
	outdated  // its files or its image have changed
	unwanted  // as it runs: the configuration asks for a restart
	dismissed // it is not to run
)

func (p problem) String() string {
	return [...]string{"none", "does not start", "ended", "is unhealthy", "is outdated", "is to be restarted", "is not to run"}[p]
}

// level is how loudly it is logged.
func (p problem) level() slog.Level {
	if p > unhealthy {
		return slog.LevelInfo
	}
	return slog.LevelWarn
}

// trouble is what went wrong with a service since it last was well. It decides
// how long to wait and how much to do at the next attempt. The zero value is a
// service without problems.
type trouble struct {
	pause  time.Duration
	counts [unhealthy + 1]int
}

// next returns what to do about p.
func (t *trouble) next(p problem) (time.Duration, plan.Options) {
	switch p {
	case outdated, dismissed:
		return 0, plan.Options{}
	case unwanted:
		return 0, plan.Options{Restart: "rancher.restart_services"}
	}
	t.pause = min(max(2*t.pause, firstPause), lastPause)
	t.counts[p]++
	n := t.counts[p]
	switch {
	case p == failedStart && n == 2:
		// A new container did not help: what it is made of may be damaged.
		return t.pause, plan.Options{Recreate: "does not start", ReplaceImage: true}
	case p == failedStart:
		return t.pause, plan.Options{Recreate: "does not start"}
	case p == ended && n%3 == 0:
		// Its own files may be in the way, such as a stale pid file.
		return t.pause, plan.Options{Recreate: "keeps ending"}
	case p == unhealthy && n%3 == 0:
		return t.pause, plan.Options{Recreate: "is unhealthy again and again"}
	case p == unhealthy:
		return t.pause, plan.Options{Restart: "is unhealthy"}
	}
	return t.pause, plan.Options{}
}

// total is how often something went wrong.
func (t *trouble) total() int {
	n := 0
	for _, count := range t.counts {
		n += count
	}
	return n
}

// calm forgets the past.
func (t *trouble) calm() { *t = trouble{} }
