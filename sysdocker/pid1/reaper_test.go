package pid1

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-os/bulkhead/internal/testengine"
)

// TestReaper runs the reaper as PID 1 among orphans, which it has to reap, and
// children that others wait for, whose exit status it must not steal.
func TestReaper(t *testing.T) {
	testengine.Require(t)
	if err := inNamespaces(t, "reaper", 0).Run(); err != nil {
		t.Error(err)
	}
}

func reaperHelper() error {
	if err := errors.Join(
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("proc", "/proc", "proc", 0, ""),
	); err != nil {
		return err
	}
	s := newSystem(asConfigured)
	s.log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := s.startReaper(ctx); err != nil {
		return err
	}
	results := make(chan error)
	started := 0
	check := func(f func() error) { started++; go func() { results <- f() }() }
	for i := range 40 {
		code := i%7 + 1
		// As the daemon runs programs.
		check(func() error {
			return wantExit(exec.Command("sh", "-c", fmt.Sprintf("sleep 0.%d; exit %d", i%10, code)).Run(), code)
		})
		// As shims are started: the parent ends, the child in a session of
		// its own lives on as an orphan and ends.
		check(func() error { return exec.Command("sh", "-c", "setsid sleep 0.5 & exit 0").Run() })
	}
	// Someone reads the output of a child that is long dead before waiting.
	check(func() error {
		cmd := exec.Command("sh", "-c", "sleep 6 & exit 9")
		out, err := cmd.StdoutPipe()
		if err := errors.Join(err, cmd.Start()); err != nil {
			return err
		}
		if _, err := io.ReadAll(out); err != nil {
			return err
		}
		return wantExit(cmd.Wait(), 9)
	})
	// PID 1's own service, which the reaper knows.
	check(func() error {
		cmd := exec.Command("sh", "-c", "exit 5")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := s.children.start(cmd, oomDefault); err != nil {
			return err
		}
		time.Sleep(3 * reapAfter)
		return wantExit(s.children.wait(cmd), 5)
	})
	for range started {
		if err := <-results; err != nil {
			return err
		}
	}
	// Orphans outside of this process's group are gone two looks later.
	for end := time.Now().Add(4 * reapAfter); ; time.Sleep(100 * time.Millisecond) {
		zombies, err := zombiesOf("/proc", 1)
		if err != nil {
			return err
		}
		foreign := 0
		for _, z := range zombies {
			if z.group != unix.Getpgrp() {
				foreign++
			}
		}
		if foreign == 0 {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%d orphans are not reaped", foreign)
		}
	}
}

func wantExit(err error, code int) error {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == code {
		return nil
	}
	return fmt.Errorf("child ended with %w; want exit status %d", err, code)
}
