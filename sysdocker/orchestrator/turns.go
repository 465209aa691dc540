package orchestrator

import (
	"context"
	"slices"
	"sync"
)

// turns lets a number of actions run at a time, the most urgent first. Without
// it all services would share the processors evenly during a boot, and those
// that many others wait for would be ready no earlier than the rest.
type turns struct {
	mu      sync.Mutex
	free    int
	waiting []*turn // in the order in which they asked
}

// A turn is asked for, then waited for, then given back.
type turn struct {
	of       *turns
	priority int
	granted  chan struct{}
}

// ask queues up; it does not block.
func (ts *turns) ask(priority int) *turn {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t := &turn{of: ts, priority: priority, granted: make(chan struct{})}
	if ts.free > 0 {
		ts.free--
		close(t.granted)
	} else {
		ts.waiting = append(ts.waiting, t)
	}
	return t
}

// wait returns nil when the turn has come. If ctx ends before, the turn is
// given back.
func (t *turn) wait(ctx context.Context) error {
	select {
	case <-t.granted:
		return nil
	case <-ctx.Done():
		t.giveBack()
		return ctx.Err()
	}
}

// giveBack ends a turn, or leaves the queue.
func (t *turn) giveBack() {
	ts := t.of
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if i := slices.Index(ts.waiting, t); i >= 0 {
		ts.waiting = slices.Delete(ts.waiting, i, i+1)
		return
	}
	if len(ts.waiting) == 0 {
		ts.free++
		return
	}
	next := 0
	for i, w := range ts.waiting {
		if w.priority > ts.waiting[next].priority {
			next = i
		}
	}
	close(ts.waiting[next].granted)
	ts.waiting = slices.Delete(ts.waiting, next, next+1)
}
