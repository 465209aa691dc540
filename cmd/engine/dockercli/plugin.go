package dockercli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/cli/cli"
	pluginmanager "github.com/docker/cli/cli-plugins/manager"
	"github.com/docker/cli/cli-plugins/metadata"
	"github.com/docker/cli/cli-plugins/socket"
	"github.com/docker/cli/cli/command"
	"github.com/spf13/cobra"
)

// runPlugin runs the plugin called name with os.Args, with env added to its
// environment. The error is NotFound when there is none.
func runPlugin(ctx context.Context, root *cobra.Command, dockerCli *command.DockerCli, name string, env []string) error {
	cmd, err := pluginmanager.PluginRunCommand(dockerCli, name, root)
	if err != nil {
		return err
	}
	cmd.Env = append(cmd.Env, env...)
	// The plugin ends when this connection closes.
	server, err := socket.NewPluginServer(nil)
	if err == nil {
		defer server.Close()
		cmd.Env = append(cmd.Env, socket.EnvKey+"="+server.Addr().String())
	}

	done := make(chan struct{})
	go func() {
		select {
		case <-done:
			return
		case <-ctx.Done():
		}
		// On a terminal the kernel has given the plugin the signal too.
		tty := dockerCli.Out().IsTerminal()
		if server != nil && !tty {
			_ = server.Close()
		}
		ch := make(chan os.Signal, 2)
		signal.Notify(ch, endSignals...)
		for range 2 {
			select {
			case <-done:
				return
			case <-ch:
			}
		}
		if !tty {
			fmt.Fprintln(dockerCli.Err(), "got 3 SIGTERM/SIGINTs, forcefully exiting")
			_ = cmd.Process.Kill()
		}
	}()

	err = cmd.Run()
	close(done)
	restoreTerminal(dockerCli)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code := exit.ExitCode()
		if code < 0 { // by a signal
			code = 1
		}
		return cli.StatusError{StatusCode: code}
	}
	return err
}

// builds are the commands that the builder plugin takes over, and what is left
// of each in the plugin's own tree.
var builds = []struct{ from, to []string }{
	{[]string{"bake"}, []string{"bake"}},
	{[]string{"builder"}, nil},
	{[]string{"build"}, []string{"build"}},
	{[]string{"image", "build"}, []string{"build"}},
}

const noBuildx = `            Install the buildx component to build images with BuildKit:
            https://docs.docker.com/go/buildx/`

// useBuilder sends build commands to the builder plugin, buildx unless the
// user's configuration names another. Without one, the daemon's classic
// builder does the work, unless BuildKit is asked for by name. It returns the
// arguments and environment for the plugin, and changes os.Args in step: that
// is where plugins take theirs from.
func useBuilder(root *cobra.Command, dockerCli *command.DockerCli, args []string) ([]string, []string, error) {
	i := slices.IndexFunc(builds, func(b struct{ from, to []string }) bool {
		return len(args) >= len(b.from) && slices.Equal(args[:len(b.from)], b.from)
	})
	builder, alias := dockerCli.ConfigFile().Aliases["builder"]
	for name := range dockerCli.ConfigFile().Aliases {
		if name != "builder" {
			return nil, nil, fmt.Errorf("not allowed to alias %q (allowed: builder)", name)
		}
	}
	if i < 0 {
		return args, nil, nil
	}
	must := alias || args[0] == "bake"
	if text := os.Getenv("DOCKER_BUILDKIT"); text != "" {
		enabled, err := strconv.ParseBool(text)
		if err != nil {
			return nil, nil, fmt.Errorf("DOCKER_BUILDKIT environment variable expects boolean value: %w", err)
		}
		if !enabled && args[0] != "bake" {
			fmt.Fprint(dockerCli.Err(), "DEPRECATED: The legacy builder is deprecated; unset DOCKER_BUILDKIT=0 to use BuildKit.\n\n")
			return args, nil, nil
		}
		must = true
	}
	if !alias {
		builder = "buildx"
	}
	plugin, err := pluginmanager.GetPlugin(builder, dockerCli, root)
	if err == nil {
		err = plugin.Err
	}
	if err != nil {
		if must {
			return nil, nil, fmt.Errorf("BuildKit is enabled but the %s component is missing or broken: %w\n%s", builder, err, noBuildx)
		}
		if !errdefs.IsNotFound(err) {
			fmt.Fprintln(dockerCli.Err(), err)
		}
		fmt.Fprintf(dockerCli.Err(), "DEPRECATED: The legacy builder is deprecated and will be removed in a future release.\n%s\n\n", noBuildx)
		return args, nil, nil
	}

	rest := args[len(builds[i].from):]
	args = slices.Concat([]string{builder}, builds[i].to, rest)
	// Global options come before the command and stay.
	os.Args = slices.Concat(os.Args[:len(os.Args)-len(rest)-len(builds[i].from)], args)
	path := append([]string{root.CommandPath()}, builds[i].from[:len(builds[i].from)-len(builds[i].to)]...)
	root.Annotations[metadata.CommandAnnotationPluginCommandPath] = strings.Join(path, " ")
	var env []string
	if !alias && !namesBuilder(rest) {
		// "docker build" makes an image in this daemon, whatever builder
		// `buildx use` selected.
		env = append(env, "BUILDX_BUILDER="+dockerCli.CurrentContext())
	}
	return args, env, nil
}

// namesBuilder says whether the user chose a buildx builder.
func namesBuilder(args []string) bool {
	return os.Getenv("BUILDX_BUILDER") != "" || slices.ContainsFunc(args, func(arg string) bool {
		return arg == "--builder" || strings.HasPrefix(arg, "--builder=")
	})
}
