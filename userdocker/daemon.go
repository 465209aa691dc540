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
// A socket that an earlier run left goes first: dockerd waits for one that is
// not there yet, but gives up on one that refuses it.
func containerdCommand(ctx context.Context) (*exec.Cmd, error) {
	if err := os.Remove(containerdSocket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	cgroup, err := openEngineCgroup()
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { cgroup.Close() })
	cmd := exec.CommandContext(ctx, "containerd", "--config", containerdConfig)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig:   syscall.SIGKILL,
		UseCgroupFD: true, CgroupFD: int(cgroup.Fd()),
	}
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
		e.log.Warn("running containers may be out of reach while the daemon starts", "err", err)
	}
	switch {
	case s.NFTables():
		err = allowForwarding()
	case !s.KnowsNFTables():
		// It would let the rules of one that does stand, and what they drop stays
		// away from its containers.
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

	// Socket activation wants the number of the process that it is meant for,
	// which nobody knows before it is there (sd_listen_fds(3)).
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c",
		`export LISTEN_PID=$$ LISTEN_FDS=1; exec dockerd "$@"`, "sh", "--config-file", daemonConfig)
	cmd.ExtraFiles = []*os.File{socket}
	cmd.Env = append(os.Environ(), s.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd, nil
}

func writeSettings(s Settings) error {
	raw, err := s.JSON()
	if err != nil {
		return err
	}
	return renameio.WriteFile(daemonConfig, raw, 0o600)
}

// openSocket returns a copy of the public socket, which it opens if it is not
// open yet.
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

// awaitAnswer notes that the daemon of this run answers, once it does. The rules
// that were held for it have done their work then.
func (e *engine) awaitAnswer(ctx context.Context, began time.Time) {
	if err := e.api.ping(ctx); err != nil {
		return // the run ended first, or the socket did
	}
	e.log.Info("user Docker answers", "took", time.Since(began).Round(time.Millisecond))
	if err := releaseRules(ctx); err != nil {
		e.log.Warn("rules held for containers stay", "err", err)
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
		e.log.Warn("the mistake is over, its report stays", "err", err)
	}
}

// dockerdEnded: a daemon that never answered has a mistake to tell. Clients
// that wait for it are sent away, others get an error at once.
func (e *engine) dockerdEnded(err error, lastWords string) {
	e.mu.Lock()
	blamed := !e.answered && !e.renewing
	e.mu.Unlock()
	blamed = blamed && lastWords != "" && e.judge(lastWords)
	e.mu.Lock()
	answered := e.answered || e.renewing
	e.answered, e.renewing = false, false
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
	case wished:
		e.log.Error("user Docker does not start with rancher.docker; it is tried without", "err", err, "daemon", lastWords)
		if err := kmsg.Announce(kmsg.Failure("user-docker/rancher.docker", errors.New(strings.TrimPrefix(lastWords, configRefused)),
			"correct rancher.docker, then system-docker restart docker; it runs without that")); err != nil {
			e.log.Warn("consoles", "err", err)
		}
	default:
		e.complain(err, lastWords)
	}
}

// A failure is what people are told about a daemon that does not start.
type failure struct {
	step   string
	cause  error
	remedy string
}

// configStep is the step of a failure that only a change of the user's file
// can end.
const configStep = "user-docker/config"

// configRefused begins the last words of a daemon that does not like its file.
const configRefused = "unable to configure the Docker daemon with file " + daemonConfig + ": "

// diagnose tells mistakes in the user's file from everything else.
func diagnose(err error, lastWords string) failure {
	config := failure{
		step:   configStep,
		cause:  err,
		remedy: "correct " + layout.UserDaemonConfig + "; user Docker starts by itself when the file changes",
	}
	if _, ok := errors.AsType[*ConfigError](err); ok {
		return config
	}
	// The daemon names the file it was given, which the user never wrote.
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
