package userdocker

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestCopyLines(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", ""},
		{"time=x level=info msg=y\n", ""},
		{"time=x msg=y\nfailed to start daemon: no\n\n", "failed to start daemon: no"},
		{"cut off", "cut off"},
	} {
		var out bytes.Buffer
		if got := copyLines(&out, strings.NewReader(tt.in)); got != tt.want || out.String() != tt.in {
			t.Errorf("copyLines(%q) = %q, copied %q; want %q and all of it", tt.in, got, out.String(), tt.want)
		}
	}
}

func TestProcessIsStartedAgainAndStopped(t *testing.T) {
	type end struct {
		err   error
		words string
	}
	ends := make(chan end)
	starts := 0
	p := &process{
		name: "sh", log: slog.New(slog.DiscardHandler), stopLimit: 10 * time.Second,
		command: func(ctx context.Context) (*exec.Cmd, error) {
			starts++
			switch starts {
			case 1:
				return nil, errors.New("not yet")
			case 2:
				return exec.CommandContext(ctx, "/bin/sh", "-c", "echo why >&2; exit 3"), nil
			}
			// The last one tells that it is up, and ends at SIGTERM.
			return exec.CommandContext(ctx, "/bin/sh", "-c", "exec sleep 60"), nil
		},
		ended: func(err error, words string) { ends <- end{err, words} },
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	stop := keep(ctx, p)
	if e := <-ends; e.err == nil || e.err.Error() != "not yet" {
		t.Errorf("first end: %v; want the command's error", e.err)
	}
	if e := <-ends; e.words != "why" {
		t.Errorf("second end: last words %q, %v; want %q", e.words, e.err, "why")
	}
	for p.signal(syscall.SIGCONT) != nil {
		if ctx.Err() != nil {
			t.Fatal("third start: not running after 30 s")
		}
		time.Sleep(10 * time.Millisecond)
	}
	began := time.Now()
	stop()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("stop took %v; want SIGTERM to end it", took)
	}
	if err := p.signal(syscall.SIGCONT); err == nil {
		t.Error("signal after the stop: no error")
	}
}
