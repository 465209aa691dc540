package platform

import (
	"context"
	"errors"
	"time"

	"github.com/bulkhead-os/bulkhead/os-config/datasource"
)

// grace is how long a source that has answered waits for those that are
// preferred to it.
const grace = time.Second

// lastWords is how long sources that are called off have to say what they were
// waiting for.
const lastWords = 100 * time.Millisecond

// An Answer is what became of asking a source. Err may be set with a Result
// that is good in part; Found says whether there is one.
type Answer struct {
	Source Source
	Result datasource.Result
	Err    error
	Found  bool
}

// Ask asks all sources at once and returns the answer of each, in their order,
// and the index of the one that counts: the first in the order among those
// that answered, where one that has answered does not wait long for those
// before it. The index is -1 when none has answered. Ask returns when ctx
// ends; who has not answered then has an error that says so.
func Ask(ctx context.Context, sources []Source) (answers []Answer, best int) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type indexed struct {
		Answer
		index int
	}
	in := make(chan indexed, len(sources))
	answers = make([]Answer, len(sources))
	pending := make(map[int]bool, len(sources))
	for n, s := range sources {
		answers[n] = Answer{Source: s, Err: errors.New("no answer in time")}
		pending[n] = true
		go func() {
			res, err := s.Fetch(ctx)
			in <- indexed{Answer{Source: s, Result: res, Err: err, Found: err == nil || !res.Empty()}, n}
		}()
	}
	best = -1
	var late <-chan time.Time
	done := ctx.Done()
	for len(pending) > 0 {
		select {
		case a := <-in:
			answers[a.index] = a.Answer
			delete(pending, a.index)
			if a.Found && (best < 0 || a.index < best) {
				best = a.index
				if late == nil {
					late = time.After(grace)
				}
			}
		case <-late:
			return answers, best
		case <-done:
			done, late = nil, time.After(lastWords)
		}
		if best >= 0 && !anyBefore(pending, best) {
			return answers, best
		}
	}
	return answers, best
}

func anyBefore(pending map[int]bool, best int) bool {
	for n := range pending {
		if n < best {
			return true
		}
	}
	return false
}
