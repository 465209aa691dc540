package pid1

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/v2/daemon/command"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/bulkhead-os/bulkhead/internal/bootlog"
	"github.com/bulkhead-os/bulkhead/internal/idle"
	"github.com/bulkhead-os/bulkhead/internal/kmsg"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/wait"
	"github.com/bulkhead-os/bulkhead/sysdocker/layers"
)

// A daemonConfig is the operator's file for System Docker; the zero value
// means there is none to use.
type daemonConfig struct {
	path string
	keys []string // its top-level keys
}

// A daemonDefault is an option that the operator's file may set otherwise.
type daemonDefault struct {
	key  string // in the file
	args []string
}

var daemonDefaults = []daemonDefault{
	// Logs of services are in RAM where there is no state disk.
	{"log-driver", []string{"--log-driver=local", "--log-opt=max-size=2m", "--log-opt=max-file=2"}},
	// What systemd gives services; the hard limit is for those that know.
	{"default-ulimits", []string{"--default-ulimit=nofile=1024:1048576"}},
	{"features", []string{
		// Services are parts of one OS: one clock, and no devices by CDI.
		"--feature=time-namespaces=false",
		"--feature=cdi=false",
	}},
	{"shutdown-timeout", []string{"--shutdown-timeout=15"}},
}

// daemonArgs returns the daemon's options. Those that hold the OS together
// cannot be changed: the daemon refuses a file that sets one of them.
func daemonArgs(c daemonConfig) []string {
	args := []string{
		// Always given: the default is the user tier's file.
		"--config-file=" + c.path,
		"--host=unix://" + layout.SystemSocket,
		"--group=root",
		"--data-root=" + layout.SystemDataRoot,
		"--exec-root=" + layout.SystemExecRoot,
		// A file left behind that says 1 would always name a living process.
		"--pidfile=",
		// Clients wait for a socket's file. That of containerd is there a moment
		// before anybody listens, when they would be refused and give up.
		"--containerd=" + layout.SystemContainerdReady,
		"--containerd-namespace=" + layers.Namespace,
		"--storage-driver=" + layers.Snapshotter,
		"--cgroup-parent=" + layout.SystemCgroup,
		// The network belongs to the user tier's daemon; services use the host's.
		"--bridge=none",
		"--iptables=false",
		"--ip6tables=false",
		"--userland-proxy=false",
		// An end of this daemon is the end of the machine.
		"--live-restore=false",
	}
	for _, d := range daemonDefaults {
		if !slices.Contains(c.keys, d.key) {
			args = append(args, d.args...)
		}
	}
	return args
}

// validateLimit bounds the check of the configuration: loading a second copy
// of the daemon from a slow medium takes seconds.
const validateLimit = time.Minute

// checkConfig takes the operator's file into use if the daemon accepts it.
// With a mistake in it, the daemon runs on the built-in settings, which is
// better than no OS, and the mistake is on the consoles.
func (s *system) checkConfig(ctx context.Context) error {
	if s.attempt != asConfigured && s.attempt != again {
		return nil
	}
	c, err := readDaemonConfig(layout.SystemDaemonConfig)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, validateLimit)
		defer cancel()
		err = s.validate(ctx, daemonArgs(c))
	}
	if err != nil {
		s.announce(kmsg.Failure("system-docker/config", err,
			"correct "+layout.SystemDaemonConfig+" and reboot; running with the built-in settings"))
		return err
	}
	s.config = c
	return nil
}

func readDaemonConfig(path string) (daemonConfig, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return daemonConfig{}, err
	}
	var content map[string]json.RawMessage
	if err := json.Unmarshal(text, &content); err != nil {
		return daemonConfig{}, fmt.Errorf("%s: %w", path, err)
	}
	c := daemonConfig{path: path}
	for key := range content {
		c.keys = append(c.keys, key)
	}
	slices.Sort(c.keys)
	return c, nil
}

// validate lets a stock daemon check args, in a process of its own: a mistake
// there ends only that.
func (s *system) validate(ctx context.Context, args []string) error {
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args = slices.Concat([]string{"dockerd"}, args, []string{"--validate"})
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := s.children.start(cmd, oomDefault); err != nil {
		return fmt.Errorf("start the check: %w", err)
	}
	err := s.children.wait(cmd)
	if _, ok := errors.AsType[*exec.ExitError](err); ok && ctx.Err() == nil {
		// The last line is the error; log lines may come before.
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		return errors.New(lines[len(lines)-1])
	}
	return err
}

// A daemon is the stock daemon as it runs in this process.
type daemon struct {
	ready chan struct{} // closed once the API has answered
	done  chan struct{} // closed when it has returned
}

// startDaemon begins to run the daemon. It should return only at the end.
func (s *system) startDaemon(ctx context.Context) error {
	// The daemon ends on some errors by way of its logger. Here that is a
	// failure like others; its goroutine stays where it is.
	logrus.StandardLogger().ExitFunc = func(int) {
		s.fail("daemon", errors.New("fatal error of the daemon, see "+layout.SystemLog))
		select {}
	}
	run, err := newRunner(s.logFile, daemonArgs(s.config))
	if err != nil {
		return err
	}
	s.daemon = &daemon{ready: make(chan struct{}), done: make(chan struct{})}
	giveToDaemon()
	s.guard("daemon", func() {
		defer close(s.daemon.done)
		err := run(ctx)
		if err == nil {
			err = errors.New("the daemon ended without being asked to")
		}
		s.fail("daemon", err)
	})
	s.guard("idle", func() { idle.Trim(ctx) })
	s.guard("daemon-ready", func() { s.watchDaemon(ctx) })
	return nil
}

// newRunner returns the stock daemon's main.
func newRunner(out *logFile, args []string) (func(context.Context) error, error) {
	r, err := command.NewDaemonRunner(out, out)
	if err != nil {
		return nil, err
	}
	// The runner is a cobra command behind an interface that does not show
	// it; without this it would read os.Args.
	cmd, ok := r.(interface{ SetArgs([]string) })
	if !ok {
		return nil, errors.New("BUG: moby's daemon runner takes no arguments any more")
	}
	cmd.SetArgs(args)
	return r.Run, nil
}

// watchDaemon does what has to wait for the daemon's API.
func (s *system) watchDaemon(ctx context.Context) {
	start := bootlog.Now()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.guard("daemon-returned", func() {
		select {
		case <-s.daemon.done:
			cancel()
		case <-ctx.Done():
		}
	})
	err := wait.Until(ctx, wait.DockerAPI(layout.SystemSocket), func(waited time.Duration, last error) {
		s.log.Warn("waiting", "for", "the daemon's API", "since", waited.Round(time.Second), "last", last)
	})
	s.record("daemon", start, err)
	if err != nil {
		return
	}
	s.signals.takeFromDaemon()
	// The daemon can only make sockets for a group.
	if err := os.Chmod(layout.SystemSocket, 0o600); err != nil {
		s.log.Error("socket is not private", "err", err)
	}
	close(s.daemon.ready)
}

// stop makes the daemon shut down in its orderly way and waits for its return.
func (d *daemon) stop(ctx context.Context) error {
	// One that is still starting would not see the signal, and it would exit
	// the process at the fourth: so one signal, at the right time.
	select {
	case <-d.ready:
		if err := unix.Kill(os.Getpid(), stopDaemon); err != nil {
			return err
		}
	case <-d.done:
	case <-ctx.Done():
		return fmt.Errorf("daemon still starts: %w", ctx.Err())
	}
	select {
	case <-d.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("daemon still runs: %w", ctx.Err())
	}
}
