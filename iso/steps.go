package iso

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// A step is one named part of the build.
type step struct {
	name string
	do   func(context.Context) error
}

// run runs the steps in order and reports each with its seconds.
func run(ctx context.Context, steps []step, p *progress) error {
	start := time.Now()
	for i, s := range steps {
		p.begin(fmt.Sprintf("[%2d/%d] %s", i+1, len(steps), s.name))
		if err := s.do(ctx); err != nil {
			p.end("FAILED")
			return fmt.Errorf("%s: %w", s.name, err)
		}
		p.end("")
	}
	p.line(fmt.Sprintf("done in %.1f s", time.Since(start).Seconds()))
	return nil
}

// progress prints one line per step. On a terminal the line of the running
// step is drawn again for each note.
type progress struct {
	out      io.Writer
	terminal bool

	mu    sync.Mutex
	name  string
	note  string
	start time.Time
}

func newProgress(out io.Writer) *progress {
	f, ok := out.(*os.File)
	return &progress{out: out, terminal: ok && term.IsTerminal(int(f.Fd()))}
}

func (p *progress) begin(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.name, p.note, p.start = name, "", time.Now()
	p.draw()
}

// Note says what the running step is at; the last note stays on the line.
func (p *progress) Note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.note = fmt.Sprintf(format, args...)
	p.draw()
}

func (p *progress) draw() {
	if p.terminal {
		fmt.Fprintf(p.out, "\r\x1b[K%s … %s", p.name, p.note)
	}
}

func (p *progress) end(result string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.terminal {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
	fmt.Fprintf(p.out, "%-32s %6.1f s  %s%s\n", p.name, time.Since(p.start).Seconds(), result, p.note)
}

func (p *progress) line(text string) { fmt.Fprintln(p.out, text) }
