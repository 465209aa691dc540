package pid1

import (
	"cmp"
	"context"
	"fmt"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-os/bulkhead/internal/retry"
)

// A program is what a service runs.
type program struct {
	name     string
	path     string
	args     []string
	oomScore int
	// namespaces are clone(2)'s flags for those of its own.
	namespaces uintptr
	// stopSignal asks it to end; SIGTERM when zero.
	stopSignal unix.Signal
	// stopLimit is how long it may take to end after that.
	stopLimit time.Duration
	// before, if any, runs before each start, started after it, and ended after
	// each end.
	before  func() error
	started func(pid int) error
	ended   func(ran time.Duration, err error)
}

// A service is a program that is started again whenever it ends.
type service struct {
	program
	out  *output
	stop context.CancelFunc
	done chan struct{} // closed when it has stopped
}

// supervise starts p and keeps it running until its stop is called.
func (s *system) supervise(p program) (*service, error) {
	out, err := s.newOutput(p.name)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	svc := &service{program: p, out: out, stop: cancel, done: make(chan struct{})}
	s.guard(p.name, func() {
		defer close(svc.done)
		s.keepRunning(ctx, svc)
	})
	return svc, nil
}

func (s *system) keepRunning(ctx context.Context, svc *service) {
	keeper := retry.Keeper{
		Backoff: retry.Backoff{First: 200 * time.Millisecond, Last: 10 * time.Second, Calm: 30 * time.Second},
		Once:    func(ctx context.Context) error { return s.runOnce(ctx, svc) },
		Ended: func(r retry.Run) {
			s.log.Error("program ended", "program", svc.name, "err", r.Err, "ran", r.Lasted, "again_in", r.Pause)
			if svc.ended != nil {
				svc.ended(r.Lasted, r.Err)
			}
		},
	}
	keeper.Keep(ctx)
	s.log.Info("stopped", "program", svc.name)
}

// runOnce runs the program to its end. When ctx ends, it is asked to end and,
// past its limit, killed.
func (s *system) runOnce(ctx context.Context, svc *service) error {
	if svc.before != nil {
		if err := svc.before(); err != nil {
			return err
		}
	}
	cmd := exec.CommandContext(ctx, svc.path, svc.args...)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = svc.out.pipe, svc.out.pipe
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Cloneflags: svc.namespaces}
	cmd.Cancel = func() error { return cmd.Process.Signal(cmp.Or(svc.stopSignal, unix.SIGTERM)) }
	cmd.WaitDelay = svc.stopLimit
	if err := s.children.start(cmd, svc.oomScore); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	if svc.started != nil {
		if err := svc.started(cmd.Process.Pid); err != nil {
			s.log.Error("program started", "program", svc.name, "err", err)
		}
	}
	return s.children.wait(cmd)
}

// stopped stops svc and waits until it is. A service that was never started
// is stopped.
func (svc *service) stopped() {
	if svc == nil {
		return
	}
	svc.stop()
	<-svc.done
}
