package console

import (
	"context"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/bulkhead-os/bulkhead/internal/retry"
)

// A task is a program that is kept running.
type task struct {
	name string
	argv []string
	env  []string
}

// killAfter is how long a program may take to end.
const killAfter = 2 * time.Second

// keep runs a task again and again until ctx ends, and then ends it.
func (c *console) keep(ctx context.Context, t task) {
	keeper := retry.Keeper{
		Backoff: retry.Backoff{First: 500 * time.Millisecond, Last: 30 * time.Second, Calm: 10 * time.Second},
		Once:    func(ctx context.Context) error { return t.command(ctx).Run() },
		Ended: func(r retry.Run) {
			c.log.Info("program ended", "name", t.name, "ran", r.Lasted, "err", r.Err, "again_in", r.Pause)
		},
	}
	keeper.Keep(ctx)
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
