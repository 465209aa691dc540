package qemutest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// A Console keeps what a serial line said, as lines of plain text.
type Console struct {
	onLine func(line string)

	mu      sync.Mutex
	lines   []string
	partial []byte
	ended   bool
	// copy gets all further bytes as they are.
	copy io.Writer
	// changed is closed, and replaced, when something new is there.
	changed chan struct{}
}

// NewConsole returns an empty console. onLine, when not nil, is called with
// each finished line, in order, from the goroutine that writes.
func NewConsole(onLine func(line string)) *Console {
	return &Console{onLine: onLine, changed: make(chan struct{})}
}

// escapes matches terminal control sequences (CSI, OSC, two-character ones).
var escapes = regexp.MustCompile(`\x1b(\[[0-9;?=]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[()][A-Za-z0-9]|[=>cMDE78])`)

// cursorMove matches what full-screen programs such as boot menus send instead
// of a new line.
var cursorMove = regexp.MustCompile(`\x1b\[[0-9;]*[HJ]`)

// clean turns raw console bytes of one line into text. A screen that a program
// paints with cursor moves becomes the last thing painted.
func clean(raw []byte) string {
	parts := cursorMove.Split(string(raw), -1)
	for i := len(parts) - 1; i >= 0; i-- {
		text := strings.Trim(escapes.ReplaceAllString(parts[i], ""), " \r\x00")
		if text != "" || i == 0 {
			return text
		}
	}
	return ""
}

// Write takes console output. It never fails.
func (c *Console) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.partial = append(c.partial, p...)
	if c.copy != nil {
		_, _ = c.copy.Write(p)
	}
	var fresh []string
	for {
		raw, rest, found := bytes.Cut(c.partial, []byte("\n"))
		if !found {
			break
		}
		fresh = append(fresh, clean(raw))
		c.partial = rest
	}
	c.lines = append(c.lines, fresh...)
	c.announce()
	c.mu.Unlock()
	if c.onLine != nil {
		for _, line := range fresh {
			c.onLine(line)
		}
	}
	return len(p), nil
}

// announce wakes all waiters; c.mu is held.
func (c *Console) announce() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// drain reads r to its end.
func (c *Console) drain(r io.Reader) {
	_, _ = io.Copy(c, r)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	c.announce()
}

// Copy sends all further output to w as well, as it is.
func (c *Console) Copy(w io.Writer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.copy = w
}

// Mark returns the position after the last finished line, from which a later
// Wait can start.
func (c *Console) Mark() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.lines)
}

// Tail returns the last n lines that are not empty, an unfinished one included.
func (c *Console) Tail(n int) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	lines := slices.DeleteFunc(c.all(0), func(line string) bool { return line == "" })
	return lines[max(0, len(lines)-n):]
}

// Since returns the lines from a mark on.
func (c *Console) Since(mark int) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all(mark)
}

// all copies the lines from a mark on with the unfinished one; c.mu is held.
func (c *Console) all(mark int) []string {
	lines := append([]string(nil), c.lines[min(mark, len(c.lines)):]...)
	if last := clean(c.partial); last != "" {
		lines = append(lines, last)
	}
	return lines
}

// errConsoleEnd means that QEMU closed the console before the text came.
var errConsoleEnd = errors.New("console ended")

// Wait returns the match of re in the first line from mark on that has one,
// and waits for such a line until ctx ends. An unfinished line counts, so that
// prompts can be awaited.
func (c *Console) Wait(ctx context.Context, mark int, re *regexp.Regexp) ([]string, error) {
	next := mark
	for {
		c.mu.Lock()
		lines, ended, changed := c.all(next), c.ended, c.changed
		done := len(c.lines)
		c.mu.Unlock()
		for _, line := range lines {
			if m := re.FindStringSubmatch(line); m != nil {
				return m, nil
			}
		}
		next = max(next, done)
		if ended {
			return nil, fmt.Errorf("no line matches %q: %w", re, errConsoleEnd)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("no line matches %q: %w", re, context.Cause(ctx))
		case <-changed:
		}
	}
}
