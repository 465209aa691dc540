package orchestrator

import (
	"slices"
	"sync"
)

// slots let a number of actions run at a time, the most urgent first. Without
// them all services would share the processors evenly during a boot, and those
// that many others wait for would be ready no earlier than the rest.
type slots struct {
	mu    sync.Mutex
	free  int
	queue []chan struct{} // in the order in which they asked
	// urgency is the priority of each in the queue.
	urgency []int
}

// ask queues up, without blocking. granted is closed when the slot is there;
// giveBack gives it back, or leaves the queue.
func (s *slots) ask(priority int) (granted <-chan struct{}, giveBack func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ch := make(chan struct{})
	if s.free > 0 {
		s.free--
		close(ch)
	} else {
		s.queue, s.urgency = append(s.queue, ch), append(s.urgency, priority)
	}
	return ch, func() { s.giveBack(ch) }
}

func (s *slots) giveBack(ch chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.queue, ch); i >= 0 {
		s.leave(i)
		return
	}
	if len(s.queue) == 0 {
		s.free++
		return
	}
	next := slices.Index(s.urgency, slices.Max(s.urgency))
	close(s.queue[next])
	s.leave(next)
}

func (s *slots) leave(i int) {
	s.queue, s.urgency = slices.Delete(s.queue, i, i+1), slices.Delete(s.urgency, i, i+1)
}
