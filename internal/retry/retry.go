// Package retry has the pauses between attempts, and the loop that keeps a
// program running. It decides nothing about what is attempted.
package retry

import (
	"context"
	"time"
)

// A Backoff yields the pauses between attempts: First, then twice as long each
// time, up to Last.
type Backoff struct {
	First, Last time.Duration
	// Calm is how long an attempt has to last for the next pause to be First
	// again. Zero: only Reset does that.
	Calm time.Duration

	pause time.Duration
}

// Next returns the pause before the next attempt.
func (b *Backoff) Next() time.Duration {
	b.pause = min(max(2*b.pause, b.First), b.Last)
	return b.pause
}

// After is Next, after an attempt that lasted so long.
func (b *Backoff) After(lasted time.Duration) time.Duration {
	if b.Calm > 0 && lasted >= b.Calm {
		b.Reset()
	}
	return b.Next()
}

// Reset makes First the next pause.
func (b *Backoff) Reset() { b.pause = 0 }

// Sleep waits for d or the end of ctx, and returns the error of a context that
// has ended.
func Sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
	return ctx.Err()
}

// A Run is one run of a program that has ended.
type Run struct {
	Err error
	// Lasted is rounded to milliseconds.
	Lasted time.Duration
	// Pause is the time until the next run.
	Pause time.Duration
}

// A Keeper keeps a program running.
type Keeper struct {
	Backoff Backoff
	// Once runs the program until it ends, and ends it when ctx does.
	Once func(ctx context.Context) error
	// Ended is called after each run that ends before ctx does.
	Ended func(Run)
	// Hurry, if set, cuts a pause short when it receives.
	Hurry <-chan struct{}
}

// Keep starts the program each time it ends. It returns when ctx has ended, and
// the program with it.
func (k *Keeper) Keep(ctx context.Context) {
	for ctx.Err() == nil {
		began := time.Now()
		err := k.Once(ctx)
		if ctx.Err() != nil {
			return
		}
		lasted := time.Since(began)
		pause := k.Backoff.After(lasted)
		k.Ended(Run{Err: err, Lasted: lasted.Round(time.Millisecond), Pause: pause})
		select {
		case <-ctx.Done():
		case <-k.Hurry:
		case <-time.After(pause):
		}
	}
}
