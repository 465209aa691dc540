package orchestrator

import (
	"errors"
	"time"

	"github.com/bulkhead-os/bulkhead/internal/retry"
	"github.com/bulkhead-os/bulkhead/sysdocker/plan"
)

// Pauses before the next attempt. An entry of the configuration may want an
// image from a registry that is away.
const (
	firstPause, lastPause           = 500 * time.Millisecond, 30 * time.Second
	firstEntryPause, lastEntryPause = time.Second, 5 * time.Minute
)

// servicePauses are those of OS services and of the event stream.
func servicePauses() retry.Backoff { return retry.Backoff{First: firstPause, Last: lastPause} }

// entryPauses are those of entries of the configuration.
func entryPauses() retry.Backoff {
	return retry.Backoff{First: firstEntryPause, Last: lastEntryPause}
}

// calmAfter is how long a service has to run well before the past is forgotten.
const calmAfter = time.Minute

// Why a service fails.
var (
	errStart     = errors.New("does not start")
	errEnded     = errors.New("ended") // or was removed
	errUnhealthy = errors.New("is unhealthy")
)

// backoff is what went wrong with a service since it last was well. It decides
// how long to wait and how much more to do at the next attempt.
type backoff struct {
	pauses retry.Backoff
	counts map[error]int
}

// next returns the pause after err and what the next attempt does more.
func (b *backoff) next(err error) (pause time.Duration, more plan.Want) {
	if b.counts == nil {
		b.counts = make(map[error]int)
	}
	for _, kind := range []error{errStart, errEnded, errUnhealthy} {
		if !errors.Is(err, kind) {
			continue
		}
		b.counts[kind]++
		switch n := b.counts[kind]; {
		case errors.Is(kind, errStart):
			more.Recreate = "does not start"
			// A new container did not help: what it is made of may be damaged.
			more.ReplaceImage = n == 2
		case errors.Is(kind, errEnded) && n%3 == 0:
			// Its own files may be in the way, such as a stale pid file.
			more.Recreate = "keeps ending"
		case errors.Is(kind, errUnhealthy) && n%3 == 0:
			more.Recreate = "is unhealthy again and again"
		case errors.Is(kind, errUnhealthy):
			more.Restart = "is unhealthy"
		}
	}
	return b.pauses.Next(), more
}

// total is how often something went wrong.
func (b *backoff) total() int {
	return b.counts[errStart] + b.counts[errEnded] + b.counts[errUnhealthy]
}

// calm forgets the past.
func (b *backoff) calm() {
	b.pauses.Reset()
	b.counts = nil
}
