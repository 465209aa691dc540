package dockercli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/cli/cli"
	pluginmanager "github.com/docker/cli/cli-plugins/manager"
	"github.com/docker/cli/cli/command"
	"github.com/docker/cli/cli/command/commands"
	"github.com/docker/cli/cli/context/store"
	"github.com/docker/cli/cli/version"
	"github.com/spf13/cobra"
)

// newRoot makes the docker command with all its subcommands.
func newRoot(dockerCli *command.DockerCli) *cli.TopLevelCommand {
	root := &cobra.Command{
		Use:              "docker [OPTIONS] COMMAND [ARG...]",
		Short:            "A self-sufficient runtime for containers",
		SilenceUsage:     true,
		SilenceErrors:    true,
		TraverseChildren: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return command.ShowHelp(dockerCli.Err())(cmd, args)
			}
			return fmt.Errorf("docker: unknown command: docker %s\n\nRun 'docker --help' for more information", args[0])
		},
		PersistentPreRunE:     func(cmd *cobra.Command, _ []string) error { return checkSupported(cmd, dockerCli) },
		Version:               version.Version + ", build " + version.GitCommit,
		DisableFlagsInUseLine: true,
		CompletionOptions: cobra.CompletionOptions{
			HiddenDefaultCmd:    true,
			DisableDescriptions: os.Getenv("DOCKER_CLI_DISABLE_COMPLETION_DESCRIPTION") != "",
		},
	}
	// Few commands take file names.
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	root.SetIn(dockerCli.In())
	root.SetOut(dockerCli.Out())
	root.SetErr(dockerCli.Err())

	opts, help := cli.SetupRootCommand(root)
	root.Flags().BoolP("version", "v", false, "Print version information and quit")
	complete(root, dockerCli)

	flagError := root.FlagErrorFunc()
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		// "the daemon is too old for this" explains more than "unknown flag".
		if err := checkSupported(cmd, dockerCli); err != nil {
			return err
		}
		return flagError(cmd, err)
	})
	helpForPlugins(root, help, dockerCli)

	commands.AddCommands(root, dockerCli)
	checkBeforeArgs(root, dockerCli)
	return cli.NewTopLevelCommand(root, dockerCli, opts, root.Flags())
}

func complete(root *cobra.Command, dockerCli *command.DockerCli) {
	levels := cobra.FixedCompletions([]string{"debug", "info", "warn", "error", "fatal", "panic"}, cobra.ShellCompDirectiveNoFileComp)
	contexts := func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		names, err := store.Names(dockerCli.ContextStore())
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
	// They fail only for options that do not exist.
	_ = root.RegisterFlagCompletionFunc("log-level", levels)
	_ = root.RegisterFlagCompletionFunc("context", contexts)
}

// helpForPlugins lets plugins answer "docker help NAME" and "docker NAME --help",
// and lists them in the help of the root.
func helpForPlugins(root, help *cobra.Command, dockerCli *command.DockerCli) {
	builtin := help.RunE
	help.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			plugin, err := pluginmanager.PluginRunCommand(dockerCli, args[0], root)
			if err == nil {
				return plugin.Run()
			}
			if !errdefs.IsNotFound(err) {
				return fmt.Errorf("unknown help topic: %s", strings.Join(args, " "))
			}
		}
		return builtin(cmd, args)
	}
	show := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		err := pluginmanager.AddPluginCommandStubs(dockerCli, root)
		if err == nil && len(args) > 0 {
			err = pluginHelp(root, dockerCli, args)
			if err == nil {
				return
			}
		}
		if err == nil || errdefs.IsNotFound(err) {
			err = checkSupported(cmd, dockerCli)
		}
		if err != nil {
			cmd.Println(err)
			return
		}
		hideUnsupported(cmd, dockerCli)
		hideBake(cmd)
		show(cmd, args)
	})
}

// hideBake takes "bake" out of the help where the plugin that does it is missing.
func hideBake(cmd *cobra.Command) {
	if found, _, err := cmd.Find([]string{"buildx"}); err == nil && found != cmd {
		return
	}
	for _, sub := range cmd.Commands() {
		if sub.Name() == "bake" {
			sub.Hidden = true
		}
	}
}

func pluginHelp(root *cobra.Command, dockerCli *command.DockerCli, args []string) error {
	cmd, _, err := root.Traverse(args)
	if err != nil {
		return err
	}
	plugin, err := pluginmanager.PluginRunCommand(dockerCli, cmd.Name(), root)
	if err != nil {
		return err
	}
	return plugin.Run()
}

// execute runs the command of os.Args: a plugin's, or one of the tree.
func execute(ctx context.Context, dockerCli *command.DockerCli) error {
	top := newRoot(dockerCli)
	root, args, err := top.HandleGlobalFlags()
	if err != nil {
		return err
	}
	if err := top.Initialize(command.WithEnableGlobalMeterProvider(), command.WithEnableGlobalTracerProvider()); err != nil {
		return err
	}
	if mp, ok := dockerCli.MeterProvider().(command.MeterProvider); ok {
		defer func() {
			// Nothing waits for telemetry; it is off unless configured.
			_ = mp.Shutdown(context.WithoutCancel(ctx))
		}()
	}
	dockerCli.InstrumentCobraCommands(ctx, root)

	args, env, err := useBuilder(root, dockerCli, args)
	if err != nil {
		return err
	}
	if slices.Contains(args, cobra.ShellCompRequestCmd) || slices.Contains(args, cobra.ShellCompNoDescRequestCmd) {
		// Asking every plugin for its name is slow, so only here.
		if err := pluginmanager.AddPluginCommandStubs(dockerCli, root); err != nil {
			return err
		}
	}
	var sub *cobra.Command
	if len(args) > 0 {
		sub, _, err = root.Find(args)
		if err != nil || pluginmanager.IsPluginCommand(sub) {
			err := runPlugin(ctx, root, dockerCli, args[0], env)
			if !errdefs.IsNotFound(err) {
				if sub != nil && hooks(dockerCli) {
					pluginmanager.RunPluginHooks(ctx, dockerCli, root, sub, args, message(err))
				}
				return err
			}
			// No such plugin: the tree reports an unknown command.
		}
	}

	go forceEnd(ctx, dockerCli)
	root.SetArgs(args)
	err = root.ExecuteContext(ctx)
	if sub != nil && hooks(dockerCli) {
		pluginmanager.RunCLICommandHooks(ctx, dockerCli, root, sub, message(err))
	}
	return err
}

func hooks(dockerCli *command.DockerCli) bool {
	return dockerCli.Out().IsTerminal() && dockerCli.HooksEnabled()
}

// message is what hooks get to see of an error; empty means success.
func message(err error) string {
	if err == nil {
		return ""
	}
	if text := err.Error(); text != "" {
		return text
	}
	return fmt.Sprintf("exited with code %d", exitCode(err))
}

// forceEnd ends a command that does not heed the end of its context, at the
// second signal after the one that ended it.
func forceEnd(ctx context.Context, streams command.Streams) {
	<-ctx.Done()
	ch := make(chan os.Signal, 2)
	signal.Notify(ch, endSignals...)
	<-ch
	<-ch
	fmt.Fprintln(streams.Err(), "\ngot 3 SIGTERM/SIGINTs, forcefully exiting")
	restoreTerminal(streams)
	os.Exit(1)
}

// restoreTerminal undoes raw mode, which would leave the user's shell without echo.
func restoreTerminal(streams command.Streams) {
	streams.In().RestoreTerminal()
	streams.Out().RestoreTerminal()
	streams.Err().RestoreTerminal()
}
