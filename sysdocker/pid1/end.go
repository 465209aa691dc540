package pid1

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/milestone"
	"github.com/bulkhead-os/bulkhead/internal/power"
	"github.com/bulkhead-os/bulkhead/internal/wait"
)

// An endStep is one part of the end. It gets its limit and not more: the next
// ones make up for what it did not get done.
type endStep struct {
	name  string
	limit time.Duration
	// least is what it has in any case, however little is left of
	// rancher.shutdown_timeout.
	least time.Duration
	do    func(context.Context) error
}

// within returns the step with no more time than is left for all, but its
// least.
func (st endStep) within(left time.Duration) endStep {
	st.limit = min(st.limit, max(left, st.least))
	return st
}

// Limits of the end. Together with the services' own they bound it.
const (
	pingLimit    = 15 * time.Second
	daemonLimit  = time.Minute
	hungLimit    = 5 * time.Second // instead, for a daemon that does not answer
	processGrace = 10 * time.Second
	killLimit    = 5 * time.Second
	unmountLimit = 30 * time.Second
	syncLimit    = 30 * time.Second
	askLimit     = time.Second // least time of a program that is asked to stop
)

// endSteps is the end of the machine, in order. What still runs after the
// daemon has stopped its containers is user containers that outlive their
// engine, and what hangs.
func (s *system) endSteps(hung bool) []endStep {
	services, daemon := s.orchestratorLimit(), daemonLimit
	if hung {
		services, daemon = hungLimit, hungLimit
	}
	return []endStep{
		{"services", services, askLimit, s.stopOrchestrator},
		{"daemon", daemon, askLimit, s.stopDaemon},
		{"containerd", containerdStop + time.Second, askLimit, s.stopContainerd},
		{"processes", processGrace + killLimit, killLimit, s.endProcesses},
		{"log", time.Second, time.Second, func(context.Context) error { return s.logFile.Close() }},
		// What has been written must reach the disk, in its own time.
		{"unmount", unmountLimit, unmountLimit, unmountAll},
		{"sync", syncLimit, syncLimit, func(context.Context) error { unix.Sync(); return nil }},
	}
}

// end stops everything and ends the machine. It returns only when reboot(2)
// fails. (In a PID namespace that is not the machine's, that ends the namespace.)
func (s *system) end(action power.Action) {
	s.beginEnd()
	s.announce("bulkhead: " + progress(action))
	// The user tier's engine stops its containers when it sees this file;
	// when only the engine ends they are to live on.
	if err := milestone.Shutdown.Set(string(action) + "\n"); err != nil {
		s.log.Error("end is not announced to services", "err", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), pingLimit)
	err := wait.DockerAPI(layout.SystemSocket).Check(ctx)
	cancel()
	if err != nil {
		s.announce(fmt.Sprintf("bulkhead: System Docker does not answer, services end by signal: %v", err))
	}
	limit, bounded, limitErr := readTimeout(layout.ShutdownTimeout)
	if limitErr != nil {
		s.log.Error("rancher.shutdown_timeout", "err", limitErr)
	}
	began := time.Now()
	for _, st := range s.endSteps(err != nil) {
		start := time.Now()
		if bounded {
			st = st.within(limit - start.Sub(began))
		}
		if err := s.bounded(st); err != nil {
			s.announce(fmt.Sprintf("bulkhead: %s: %v; going on", st.name, err))
			continue
		}
		s.log.Info("end", "step", st.name, "took", time.Since(start).Round(time.Millisecond))
	}
	s.announce("bulkhead: " + result(action))
	if err := power.Now(action); err != nil {
		s.announce(fmt.Sprintf("bulkhead: %v", err))
	}
}

// readTimeout reads a number of seconds from a file, if there is one.
func readTimeout(path string) (limit time.Duration, found bool, err error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	seconds, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, false, fmt.Errorf("%s: %w", path, err)
	}
	return time.Duration(seconds) * time.Second, true, nil
}

// bounded runs one step until it is done, its time is up, or someone at the
// machine will not wait.
func (s *system) bounded(st endStep) error {
	ctx, cancel := context.WithTimeout(context.Background(), st.limit)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		var err error
		if p := protect(func() { err = st.do(ctx) }); p != nil {
			err = p
		}
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("not done after %s", st.limit)
	case <-s.signals.hurry:
		return errors.New("cut short")
	}
}

func progress(a power.Action) string {
	switch a {
	case power.Reboot:
		return "stopping services to restart"
	case power.Halt:
		return "stopping services to halt"
	}
	return "stopping services to power off"
}

func result(a power.Action) string {
	switch a {
	case power.Reboot:
		return "rebooting"
	case power.Halt:
		return "halted"
	}
	return "powered off"
}

// orchestratorLimit is the time of the services to stop: that of the program
// which stops them, and a moment to kill it.
func (s *system) orchestratorLimit() time.Duration {
	if svc := s.orchestrator.Load(); svc != nil {
		return svc.stopLimit + time.Second
	}
	return time.Second
}

func (s *system) stopOrchestrator(context.Context) error {
	s.orchestrator.Load().stopped()
	return nil
}

func (s *system) stopDaemon(ctx context.Context) error {
	if s.daemon == nil {
		return nil
	}
	return s.daemon.stop(ctx)
}

func (s *system) stopContainerd(context.Context) error {
	s.containerd.stopped()
	return nil
}

// endProcesses ends every process but this one: SIGTERM, and SIGKILL when only
// killLimit is left. It also reaps them all, so nobody may be waiting for a
// child any more. The holder of the user tier's namespaces, which is deaf to
// SIGTERM, ends when those in them had their time.
func (s *system) endProcesses(ctx context.Context) error {
	signalAll(unix.SIGTERM)
	grace := processGrace
	if deadline, ok := ctx.Deadline(); ok {
		grace = time.Until(deadline) - killLimit
	}
	gentle, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	if waitAlone(gentle, s.holderPID()) != nil {
		signalAll(unix.SIGKILL)
	}
	s.holder.stopped()
	return waitAlone(ctx, 0)
}

// signalAll sends sig to all other processes, if there are any.
func signalAll(sig unix.Signal) { _ = unix.Kill(-1, sig) }

// waitAlone waits until this is the only process, but one, that is not the
// kernel's.
func waitAlone(ctx context.Context, but int) error {
	for {
		reapAll()
		others := 0
		err := eachProcess("/proc", func(p process) {
			if p.pid != os.Getpid() && p.pid != but && !p.kernel && p.state != 'Z' {
				others++
			}
		})
		if err != nil {
			return err
		}
		if others == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d processes do not end", others)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func reapAll() {
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if pid <= 0 {
			return
		}
	}
}
