// Package dockercli is the docker command around the command tree of
// github.com/docker/cli, whose own main cannot be imported. It keeps what
// users and scripts rely on: exit codes, signals, plugins, completion, and
// options hidden that the daemon does not know. It has no commands of its own.
package dockercli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/containerd/errdefs"
	"github.com/docker/cli/cli"
	"github.com/docker/cli/cli/command"
	"github.com/docker/cli/cli/debug"
	"github.com/sirupsen/logrus"
	"go.opentelemetry.io/otel"

	"github.com/bulkhead-os/bulkhead/internal/layout"
)

// Main runs the docker command with os.Args and returns its exit code.
func Main() int { return exit(runForSwarm) }

func exit(run func(context.Context) error) int {
	ctx, stop := withSignals(context.Background())
	defer stop()
	err := run(ctx)
	if err == nil {
		return 0
	}
	var sig signalError
	if !errors.As(err, &sig) && !errdefs.IsCanceled(err) && err.Error() != "" {
		fmt.Fprintln(os.Stderr, err)
	}
	return exitCode(err)
}

// System is Main for the system tier's daemon, which answers root only.
func System() int {
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "system-docker: only root may talk to System Docker; try: sudo system-docker …")
		return 1
	}
	// Settings meant for another daemon would win over the socket or break
	// the connection to it.
	for _, name := range []string{"DOCKER_CONTEXT", "DOCKER_TLS", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "DOCKER_API_VERSION"} {
		if err := os.Unsetenv(name); err != nil {
			fmt.Fprintf(os.Stderr, "system-docker: unset %s: %v\n", name, err)
			return 1
		}
	}
	if err := os.Setenv("DOCKER_HOST", "unix://"+layout.SystemSocket); err != nil {
		fmt.Fprintf(os.Stderr, "system-docker: set DOCKER_HOST: %v\n", err)
		return 1
	}
	return exit(run)
}

func run(ctx context.Context) error {
	dockerCli, err := newCLI(ctx)
	if err != nil {
		return err
	}
	return execute(ctx, dockerCli)
}

func newCLI(ctx context.Context) (*command.DockerCli, error) {
	dockerCli, err := command.NewDockerCli(command.WithBaseContext(ctx))
	if err != nil {
		return nil, err
	}
	logrus.SetOutput(dockerCli.Err())
	otel.SetErrorHandler(debug.OTELErrorHandler)
	return dockerCli, nil
}

// signalError is the cause of a context that a signal ended.
type signalError struct{ signal syscall.Signal }

func (e signalError) Error() string { return "ended by signal: " + e.signal.String() }

// endSignals ask the command to end; the third one ends it by force.
var endSignals = []os.Signal{syscall.SIGINT, syscall.SIGTERM}

// withSignals returns a context that the first SIGINT or SIGTERM cancels.
func withSignals(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, endSignals...)
	go func() {
		defer signal.Stop(ch)
		select {
		case <-ctx.Done():
		case s := <-ch:
			cancel(signalError{s.(syscall.Signal)})
		}
	}()
	return ctx, func() { cancel(nil) }
}

// exitCode is the shell's for a signal, the status that a command asks for
// (docker run's is the container's), or 1.
func exitCode(err error) int {
	if sig, ok := errors.AsType[signalError](err); ok {
		return 128 + int(sig.signal)
	}
	if status, ok := errors.AsType[cli.StatusError](err); ok && status.StatusCode != 0 {
		return status.StatusCode
	}
	return 1
}
