// Package idle gives memory back to the kernel when a daemon has come to rest.
// Go's runtime keeps room for the heap of its busiest moment until the next
// collection, which an idle program runs every two minutes, and returns what
// that frees over further minutes. On a machine with two daemons and two
// containerds that is a quarter of what they use.
package idle

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// interval is how often the program's allocations are looked at.
	interval = 4 * time.Second
	// rest is how much a program at rest may allocate in one interval, in
	// bytes: health checks and timers go on.
	rest = 1 << 20
	// worth is the amount of allocations, in bytes, that makes a collection
	// worth its while.
	worth = 8 << 20
)

// Trim runs until ctx ends.
func Trim(ctx context.Context) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	var w watch
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if w.rests(allocated()) {
				debug.FreeOSMemory()
			}
		}
	}
}

// A watch follows the total of a program's allocations, in bytes.
type watch struct{ last, trimmed uint64 }

// rests reports whether the program has come to rest after work that may have
// left garbage behind.
func (w *watch) rests(total uint64) bool {
	quiet := total-w.last <= rest
	w.last = total
	if !quiet || total-w.trimmed < worth {
		return false
	}
	w.trimmed = total
	return true
}

// allocated is what the program has ever allocated on its heap, in bytes.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
