package console

import (
	"context"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// A task is a program that is kept running.
type task struct {
	name string
	argv []string
	env  []string
}

const (
	firstPause = 500 * time.Millisecond
	lastPause  = 30 * time.Second
	// goodRun is how long a program runs that is started again at once.
	goodRun = 10 * time.Second
	// killAfter is how long a program may take to end.
	killAfter = 2 * time.Second
)

// keep runs a task again and again until ctx ends, and then ends it.
func (c *console) keep(ctx context.Context, t task) {
	pause := firstPause
	for ctx.Err() == nil {
		start := time.Now()
		err := t.command(ctx).Run()
		if ctx.Err() != nil {
			return
		}
		ran := time.Since(start)
		if ran >= goodRun {
			pause = firstPause
		}
		c.log.Info("program ended", "name", t.name, "ran", ran.Round(time.Millisecond), "err", err, "again_in", pause)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, lastPause)
	}
}

// command makes the process of a task: one that is asked to end when ctx ends,
// and that leads a session, as a login prompt must to own its terminal.
func (t task) command(ctx context.Context) *exec.Cmd {
	cmd := exec.CommandContext(ctx, t.argv[0], t.argv[1:]...)
	cmd.Env = append(os.Environ(), t.env...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = killAfter
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd
}
