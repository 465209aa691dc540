package plugins

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/docker/buildx/commands"
	"github.com/docker/buildx/util/cobrautil"
	"github.com/docker/buildx/util/desktop"
	"github.com/docker/buildx/version"
	"github.com/docker/cli/cli"
	"github.com/docker/cli/cli-plugins/metadata"
	"github.com/docker/cli/cli-plugins/plugin"
	"github.com/docker/cli/cli/command"
	"github.com/docker/cli/cli/debug"
	solvererrdefs "github.com/moby/buildkit/solver/errdefs"
	"github.com/moby/buildkit/sourcepolicy/policysession"
	"github.com/moby/buildkit/util/grpcerrors"
	"github.com/moby/buildkit/util/stack"
	"github.com/moby/buildkit/util/tracing/detect"
	"go.opentelemetry.io/otel"
	"google.golang.org/grpc/codes"

	// Where builds may run. The one in Kubernetes would bring its client.
	_ "github.com/docker/buildx/driver/docker"
	_ "github.com/docker/buildx/driver/docker-container"
	_ "github.com/docker/buildx/driver/remote"
)

// Buildx runs docker buildx with os.Args and returns its exit code.
func Buildx() int {
	stack.SetVersionInfo(version.Version, version.Revision)
	detect.ServiceName = "buildx"
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(error) {})) // nobody waits for telemetry
	dockerCli, err := command.NewDockerCli()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := runBuildx(dockerCli); err != nil {
		return tellBuildx(dockerCli.Err(), err)
	}
	return 0
}

func runBuildx(dockerCli *command.DockerCli) error {
	if !plugin.RunningStandalone() {
		return plugin.RunPlugin(dockerCli, commands.NewRootCmd("buildx", true, dockerCli),
			metadata.Metadata{SchemaVersion: "0.1.0", Vendor: vendor, Version: version.Version})
	}
	if mp, ok := dockerCli.MeterProvider().(command.MeterProvider); ok {
		defer func() { _ = mp.ForceFlush(context.Background()) }()
	}
	return commands.NewRootCmd(filepath.Base(os.Args[0]), false, dockerCli).Execute()
}

// tellBuildx prints why a command failed, with the lines of the build file that
// are to blame, and returns the exit code that scripts know from buildx.
func tellBuildx(w io.Writer, err error) int {
	if status, ok := errors.AsType[cli.StatusError](err); ok {
		if status.Status != "" {
			fmt.Fprintln(w, status.Status)
		}
		return max(status.StatusCode, 1)
	}
	if code, ok := errors.AsType[cobrautil.ExitCodeError](err); ok {
		return int(code)
	}
	for _, m := range policysession.DenyMessages(err) {
		if text := m.GetMessage(); text != "" {
			fmt.Fprintf(w, "Policy: %s\n", text)
		}
	}
	for _, source := range solvererrdefs.Sources(err) {
		_ = source.Print(w)
	}
	if debug.IsEnabled() {
		fmt.Fprintf(w, "ERROR: %+v", stack.Formatter(err))
	} else {
		fmt.Fprintf(w, "ERROR: %v\n", err)
	}
	if build, ok := errors.AsType[*desktop.ErrorWithBuildRef](err); ok {
		_ = build.Print(w)
	}
	switch code := grpcerrors.Code(err); {
	case code == codes.Internal:
		return 100
	case code == codes.ResourceExhausted:
		return 102
	case code == codes.Canceled, errors.Is(err, context.Canceled):
		return 130
	}
	return 1
}
