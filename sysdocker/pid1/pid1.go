// Package pid1 is the first process of the running OS: the stock Docker daemon
// in this process, and around it what a PID 1 owes the machine. It prepares
// the kernel, keeps containerd and the orchestrator running, reaps orphans,
// turns signals into an ordered end with reboot(2), and opens a rescue shell
// when the daemon cannot run. docs/adr/001 says why it is built this way.
//
// It does not know the OS services: the orchestrator starts and stops those.
package pid1

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bulkhead-os/bulkhead/internal/bootlog"
	"github.com/bulkhead-os/bulkhead/internal/kmsg"
	"github.com/bulkhead-os/bulkhead/internal/layout"
)

// system is the state of PID 1.
type system struct {
	attempt  attempt
	started  time.Time
	log      *slog.Logger
	logFile  *logFile
	children *children
	signals  *signals

	// config is the operator's daemon configuration, or empty.
	config       daemonConfig
	containerd   *service
	holder       *service
	daemon       *daemon
	orchestrator atomic.Pointer[service] // nil until the images are there

	// failures are what PID 1 cannot live with.
	failures chan failure
	// ending is closed, by beginEnd, once an end is under way: whatever
	// breaks from then on was meant to.
	ending   chan struct{}
	beginEnd func()
}

// A failure ends the normal run: it has a cause and leads to the next attempt.
type failure struct {
	step  string
	cause error
}

// Main runs the system tier until the machine ends. It returns only when it is
// not PID 1.
func Main() int {
	if os.Getpid() != 1 {
		fmt.Fprintf(os.Stderr, "%s: has to be PID 1; to start a daemon of your own, use dockerd\n", layout.SystemInit)
		return 1
	}
	s := newSystem(attemptFromEnv(os.Getenv(attemptEnv)))
	// First of all: without a handler, a SIGTERM ends a Go program, and the
	// kernel panics when PID 1 ends.
	s.signals = catchSignals()
	s.logFile = openLog(layout.SystemLog)
	s.log = slog.New(slog.NewTextHandler(s.logFile, nil)).With("component", "pid1")
	s.guard("signals", s.signals.listen)
	s.guard("schedule", s.keepSchedule)

	var f failure
	if err := protect(func() { f = s.run(context.Background()) }); err != nil {
		f = failure{"pid1", err}
	}
	s.recoverFrom(f)
	return 1 // BUG: recoverFrom does not return
}

func newSystem(a attempt) *system {
	s := &system{
		attempt:  a,
		started:  time.Now(),
		children: newChildren(),
		failures: make(chan failure, 8),
		ending:   make(chan struct{}),
	}
	s.beginEnd = sync.OnceFunc(func() { close(s.ending) })
	return s
}

// A step is one part of the start. The steps run one after another; what takes
// time, a step only begins.
type step struct {
	name string
	do   func(context.Context) error
	// optional steps may fail: the OS runs without, perhaps worse.
	optional bool
}

// steps is the start of the system tier, in order.
func (s *system) steps() []step {
	return []step{
		{name: "ctrl-alt-del", do: takeCtrlAltDel, optional: true},
		{name: "oom-score", do: protectFromOOM, optional: true},
		{name: "limits", do: raiseLimits, optional: true},
		{name: "sysctl", do: setSysctls, optional: true},
		{name: "fair-time", do: keepFairTime, optional: true},
		{name: "cgroups", do: s.makeCgroups, optional: true},
		{name: "apparmor", do: loadPolicy, optional: true},
		{name: "reaper", do: s.startReaper},
		{name: "modules-start", do: s.startModules},
		{name: "containerd-start", do: s.startContainerd},
		{name: "user-tier-start", do: s.startHolder, optional: true},
		{name: "config", do: s.checkConfig, optional: true},
		{name: "daemon-start", do: s.startDaemon},
		{name: "images-start", do: s.startImages},
		{name: "proxies-start", do: s.startProxies, optional: true},
	}
}

// run starts everything and waits for the end: an order to end the machine,
// which it carries out, or the failure that it returns.
func (s *system) run(ctx context.Context) failure {
	s.log.Info("system tier starts", "attempt", s.attempt)
	for _, st := range s.steps() {
		start := bootlog.Now()
		err := st.do(ctx)
		s.record(st.name, start, err)
		if err == nil {
			continue
		}
		if !st.optional {
			return failure{st.name, err}
		}
		s.log.Warn("step failed", "step", st.name, "err", err)
	}
	select {
	case action := <-s.signals.requests:
		s.end(action)
		return failure{"end", errors.New("the machine did not end")}
	case f := <-s.failures:
		return f
	}
}

// record adds a step to the boot report.
func (s *system) record(name string, start float64, err error) {
	if err := bootlog.Append(layout.BootEvents, bootlog.Since("system-docker/"+name, start, err)); err != nil {
		s.log.Warn("boot step not recorded", "step", name, "err", err)
	}
}

// announce tells the people at the consoles, and the log.
func (s *system) announce(line string) {
	s.log.Info(line)
	if err := kmsg.Announce(line); err != nil {
		s.log.Warn("line did not reach the consoles", "line", line, "err", err)
	}
}

// guard runs fn in a goroutine. A panic in it becomes a failure; unguarded, it
// would end PID 1 and with it the machine.
func (s *system) guard(name string, fn func()) {
	go func() {
		if err := protect(fn); err != nil {
			s.fail(name, err)
		}
	}()
}

// fail reports what PID 1 cannot live with.
func (s *system) fail(step string, cause error) {
	select {
	case <-s.ending:
		s.log.Debug("during the end", "step", step, "err", cause)
		return
	default:
	}
	select {
	case s.failures <- failure{step, cause}:
	default:
		s.log.Error("another failure", "step", step, "err", cause)
	}
}

// protect turns a panic of fn into an error.
func protect(fn func()) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	fn()
	return nil
}
