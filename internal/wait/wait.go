// Package wait waits for things outside the process: a file, a socket, a
// Docker API. Every wait has a context, a name and a limit. It knows no
// services and starts nothing.
package wait

import (
	"context"
	"fmt"
	"time"
)

// A Condition is something that comes true outside the process.
type Condition interface {
	// Check returns nil when the condition holds, else what is missing.
	// It may block, but not longer than ctx.
	Check(ctx context.Context) error
	// String names the condition, to end the sentence "waiting for …".
	String() string
}

// Pauses between two checks: short at first, since most waits of a boot last
// a fraction of a second, and then longer, to leave the processor alone.
const (
	firstPause = 10 * time.Millisecond
	lastPause  = 250 * time.Millisecond
)

// Noting is c, which calls failed with what is missing after each check.
func Noting(c Condition, failed func(error)) Condition { return noting{c, failed} }

type noting struct {
	Condition
	failed func(error)
}

func (n noting) Check(ctx context.Context) error {
	err := n.Condition.Check(ctx)
	if err != nil {
		n.failed(err)
	}
	return err
}

// ReportEvery is the time between two reports of one wait.
const ReportEvery = 10 * time.Second

// A Report is called every ReportEvery with how long the wait has lasted and
// what the last check said.
type Report func(waited time.Duration, last error)

// Until checks c until it holds. It returns an error only when ctx ends first:
// one that says how long it waited, for what, and what the last check said,
// and that wraps the context's error. report may be nil.
func Until(ctx context.Context, c Condition, report Report) error {
	start := time.Now()
	reported := start
	pause := firstPause
	for {
		last := c.Check(ctx)
		if last == nil {
			return nil
		}
		if report != nil && time.Since(reported) >= ReportEvery {
			reported = time.Now()
			report(time.Since(start), last)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: not there after %s: %w (%w)",
				c, time.Since(start).Round(100*time.Millisecond), last, ctx.Err())
		case <-time.After(pause):
		}
		pause = min(pause*3/2, lastPause)
	}
}

// For is Until with a limit.
func For(ctx context.Context, limit time.Duration, c Condition, report Report) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return Until(ctx, c, report)
}
