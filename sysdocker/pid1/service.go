package pid1

import (
	"context"
	"fmt"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A program is what a service runs.
type program struct {
	name     string
	path     string
	args     []string
	oomScore int
	// stopLimit is how long it may take to end after SIGTERM.
	stopLimit time.Duration
	// before, if any, runs before each start; ended after each end.
	before func() error
	ended  func(ran time.Duration, err error)
}

// A service is a program that is started again whenever it ends.
type service struct {
	program
	out  *output
	stop context.CancelFunc
	done chan struct{} // closed when it has stopped
}

// Pauses before a restart: short after a long run, longer each time while the
// program keeps ending early.
const (
	firstPause = 200 * time.Millisecond
	lastPause  = 10 * time.Second
	longRun    = 30 * time.Second
)

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
	pause := firstPause
	for ctx.Err() == nil {
		start := time.Now()
		err := s.runOnce(ctx, svc)
		ran := time.Since(start)
		if ctx.Err() != nil {
			s.log.Info("stopped", "program", svc.name)
			return
		}
		s.log.Error("program ended", "program", svc.name, "err", err, "ran", ran.Round(time.Millisecond))
		if svc.ended != nil {
			svc.ended(ran, err)
		}
		if ran > longRun {
			pause = firstPause
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, lastPause)
	}
}

// runOnce runs the program to its end. When ctx ends, it gets SIGTERM and, past
// its limit, SIGKILL.
func (s *system) runOnce(ctx context.Context, svc *service) error {
	if svc.before != nil {
		if err := svc.before(); err != nil {
			return err
		}
	}
	cmd := exec.CommandContext(ctx, svc.path, svc.args...)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = svc.out.pipe, svc.out.pipe
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	cmd.WaitDelay = svc.stopLimit
	if err := s.children.start(cmd, svc.oomScore); err != nil {
		return fmt.Errorf("start: %w", err)
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
