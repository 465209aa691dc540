package iso

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// A step is one named part of the build.
type step struct {
	name string
	do   func(context.Context) error
}

// run runs the steps in order and reports each with its seconds and with what
// all later ones will take.
func run(ctx context.Context, steps []step, p *progress) error {
	start := time.Now()
	left := newForecast(steps)
	for i, s := range steps {
		p.begin(fmt.Sprintf("[%2d/%d] %s", i+1, len(steps), s.name))
		if err := s.do(ctx); err != nil {
			p.end("FAILED", "")
			return fmt.Errorf("%s: %w", s.name, err)
		}
		p.end("", left.after(s.name, time.Since(p.start)))
	}
	if !p.brief {
		p.line(fmt.Sprintf("done in %.1f s", time.Since(start).Seconds()))
	}
	return nil
}

// usual is how long steps take without any cache, on two processors and with
// -fast (2026-11-30); other steps take a few seconds.
func usual(step string) time.Duration {
	switch step {
	case "compile":
		return 300 * time.Second
	case "resolve packages", "fetch packages":
		return 16 * time.Second
	case "layers", "images", "root image":
		return 20 * time.Second
	}
	return 3 * time.Second
}

// A forecast tells how long the steps that are left will take, from what they
// usually take and how fast this machine was until now.
type forecast struct {
	left, usual, took time.Duration
}

func newForecast(steps []step) *forecast {
	f := &forecast{}
	for _, s := range steps {
		f.left += usual(s.name)
	}
	return f
}

// after takes in a step that is done and says what is left, or nothing when
// that is not worth a word. Steps that a cache made short do not count as speed.
func (f *forecast) after(step string, took time.Duration) string {
	f.left -= usual(step)
	if took > usual(step)/3 {
		f.usual += usual(step)
		f.took += took
	}
	left := f.left
	if f.usual > 0 {
		left = time.Duration(float64(left) * f.took.Seconds() / f.usual.Seconds())
	}
	switch {
	case left >= 90*time.Second:
		return fmt.Sprintf("at most %.0f min left", left.Minutes())
	case left >= 10*time.Second:
		return fmt.Sprintf("at most %.0f s left", left.Round(10*time.Second).Seconds())
	}
	return ""
}

// progress prints one line per step. On a terminal the line of the running
// step is drawn again for each note.
type progress struct {
	out      io.Writer
	terminal bool
	// brief leaves out steps that took no time, and the last line.
	brief bool

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

// end prints the step's line: its result, note, and what is left.
func (p *progress) end(result, left string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.terminal {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
	took := time.Since(p.start).Seconds()
	if p.brief && result == "" && took < 0.5 {
		return
	}
	var words []string
	for _, word := range []string{result, p.note, left} {
		if word != "" {
			words = append(words, word)
		}
	}
	fmt.Fprintf(p.out, "%-32s %6.1f s  %s\n", p.name, took, strings.Join(words, "; "))
}

func (p *progress) line(text string) { fmt.Fprintln(p.out, text) }
