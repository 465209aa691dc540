package userdocker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/google/renameio/v2"

	"github.com/bulkhead-os/bulkhead/internal/kmsg"
	"github.com/bulkhead-os/bulkhead/internal/layout"
)

// containerdCommand makes the command of one run of containerd.
//
// It removes the socket of an earlier run first: dockerd waits for a socket that
// is missing, but gives up on one that refuses it.
func (e *engine) containerdCommand(ctx context.Context) (*exec.Cmd, error) {
	if err := os.Remove(containerdSocket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	cgroup, err := openEngineCgroup(e.further.cgroups())
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { cgroup.Close() })
	cmd := withUs(ctx, "containerd", "--config", containerdConfig)
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(cgroup.Fd())}
	return cmd, nil
}

// dockerdCommand writes the configuration and makes the command of one run.
func (e *engine) dockerdCommand(ctx context.Context) (*exec.Cmd, error) {
	s, err := e.readSettings()
	if err != nil {
		return nil, err
	}
	e.use(s)
	if err := writeSettings(s); err != nil {
		return nil, err
	}
	if err := holdRules(ctx); err != nil {
		e.log.Warn("published ports may be closed while the daemon starts", "err", err)
	}
	switch {
	case s.NFTables():
		err = allowForwarding()
	case !s.KnowsNFTables():
		// This backend leaves the rules of another one in place, and packets that
		// those drop never reach its containers.
		err = dropTables(ctx, bridgeTables...)
	}
	if err != nil {
		return nil, err
	}
	if err := os.Remove(pidFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	socket, err := e.openSocket(s.Group())
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { socket.Close() })
	go e.awaitAnswer(ctx, time.Now())

	// Socket activation needs the number of the process that gets the socket. Only
	// that process knows it in time (sd_listen_fds(3)).
	cmd := withUs(ctx, "/bin/sh", "-c",
		`export LISTEN_PID=$$ LISTEN_FDS=1; exec dockerd "$@"`, "sh", "--config-file", daemonConfig)
	cmd.ExtraFiles = []*os.File{socket}
	cmd.Env = append(os.Environ(), s.env...)
	return cmd, nil
}

// withUs makes a command that the kernel kills when this process ends, in
// whatever PID namespace it is: Go's own Pdeathsig takes a child that cannot see
// its parent for an orphan.
func withUs(ctx context.Context, argv ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "setpriv", append([]string{"--pdeathsig", "KILL", "--"}, argv...)...)
}

func writeSettings(s Settings) error {
	raw, err := s.JSON()
	if err != nil {
		return err
	}
	return renameio.WriteFile(daemonConfig, raw, 0o600)
}

// openSocket returns a copy of the public socket, and opens the socket first if
// necessary.
func (e *engine) openSocket(group string) (*os.File, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.answered = false
	if e.listener == nil {
		l, err := listen(socketPath, group)
		if err != nil {
			return nil, err
		}
		e.listener = l
	}
	return e.listener.File()
}

// awaitAnswer waits until the daemon of this run answers, and notes it. The held
// copies of its firewall rules are not needed after that.
func (e *engine) awaitAnswer(ctx context.Context, began time.Time) {
	if err := e.api.ping(ctx); err != nil {
		return // the run ended first, or the socket did
	}
	e.log.Info("user Docker answers", "took", time.Since(began).Round(time.Millisecond))
	if err := releaseRules(ctx); err != nil {
		e.log.Warn("copies of firewall rules are not removed", "err", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if ctx.Err() != nil {
		return // dockerdEnded may have been here already
	}
	e.answered = true
	e.keepGood(e.settings)
	e.complained = ""
	if err := os.Remove(layout.UserFailure); err != nil && !errors.Is(err, fs.ErrNotExist) {
		e.log.Warn("cannot remove the outdated problem report", "err", err)
	}
}

// dockerdEnded reports why a daemon ended that never answered. Clients that wait
// for it are disconnected, so that they get an error at once.
func (e *engine) dockerdEnded(err error, lastWords string) {
	e.mu.Lock()
	blamed := !e.answered && !e.renewing
	e.mu.Unlock()
	blamed = blamed && lastWords != "" && e.judge(lastWords)
	e.mu.Lock()
	answered := e.answered || e.renewing
	e.answered, e.renewing = false, false
	// When both ended, the daemon may be back before containerd is: that is worth
	// a word only when it happens again.
	early := !answered && !e.early && strings.Contains(lastWords, containerdSocket)
	e.early = early
	if !answered && e.listener != nil {
		e.listener.Close()
		os.Remove(socketPath)
		e.listener = nil
	}
	wish := e.settings.wish
	wished := len(wish) > 0 && strings.HasPrefix(lastWords, configRefused)
	if !answered && wished && !blamed {
		e.refused = fmt.Sprint(wish)
	}
	e.mu.Unlock()
	switch {
	case answered, blamed: // the next run is another one, and tells
	case early:
		e.log.Info("the daemon was there before containerd", "daemon", lastWords)
	case wished:
		e.log.Error("user Docker does not start with rancher.docker; it is tried without", "err", err, "daemon", lastWords)
		if err := kmsg.Announce(kmsg.Failure("user-docker/rancher.docker", errors.New(strings.TrimPrefix(lastWords, configRefused)),
			"correct rancher.docker, then system-docker restart docker; it runs without that")); err != nil {
			e.log.Warn("line did not reach the consoles", "err", err)
		}
	default:
		e.complain(err, lastWords)
	}
}

// A failure says to people why the daemon does not start.
type failure struct {
	step   string
	cause  error
	remedy string
}

// configStep is the step of a failure that lasts until the user's file changes.
const configStep = "user-docker/config"

// configRefused begins the last line of a daemon that rejects its file.
const configRefused = "unable to configure the Docker daemon with file " + daemonConfig + ": "

// diagnose distinguishes mistakes in the user's file from everything else.
func diagnose(err error, lastWords string) failure {
	config := failure{
		step:   configStep,
		cause:  err,
		remedy: "correct " + layout.UserDaemonConfig + "; user Docker starts by itself when the file changes",
	}
	if _, ok := errors.AsType[*ConfigError](err); ok {
		return config
	}
	// The daemon names the file that we generated, not the user's.
	if cause, ok := strings.CutPrefix(lastWords, configRefused); ok {
		config.cause = &ConfigError{errors.New(cause)}
		return config
	}
	daemon := failure{
		step:   "user-docker/dockerd",
		cause:  err,
		remedy: "see 'system-docker logs docker'; user Docker is started again by itself",
	}
	if lastWords != "" {
		daemon.cause = fmt.Errorf("%w: %s", err, lastWords)
	}
	return daemon
}
