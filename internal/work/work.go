// Package work says how far a sequence of steps is.
package work

import (
	"context"
	"io"
)

// A Progress is how far the work is. Done and Total are bytes; Total is zero for
// steps that take no time worth telling.
type Progress struct {
	Step, Steps int
	Name        string
	Done, Total int64
}

// A Meter keeps the progress and reports each change.
type Meter struct {
	Report func(Progress)
	now    Progress
}

// Begin begins a step.
func (m *Meter) Begin(step, steps int, name string) {
	m.now = Progress{Step: step, Steps: steps, Name: name}
	m.Report(m.now)
}

// Expect says how many bytes the step will read, and that it begins with them.
func (m *Meter) Expect(total int64) { m.now.Done, m.now.Total = 0, total }

// Add counts bytes that are done.
func (m *Meter) Add(n int64) {
	m.now.Done += n
	m.Report(m.now)
}

// Reader counts what is read, and ends with ctx.
func (m *Meter) Reader(ctx context.Context, from io.Reader) io.Reader {
	return readFunc(func(b []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		n, err := from.Read(b)
		m.Add(int64(n))
		return n, err
	})
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(b []byte) (int, error) { return f(b) }
