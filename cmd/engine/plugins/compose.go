// Package plugins is docker compose and docker buildx: plugins of the docker
// command (cli-plugins/docker-compose, cli-plugins/docker-buildx) around the
// command trees of their modules, whose own mains cannot be imported. It adds
// nothing to them.
package plugins

import (
	"os"

	"github.com/docker/cli/cli"
	"github.com/docker/cli/cli-plugins/metadata"
	"github.com/docker/cli/cli-plugins/plugin"
	"github.com/docker/cli/cli/command"
	"github.com/docker/compose/v5/cmd/cmdtrace"
	"github.com/docker/compose/v5/cmd/compatibility"
	commands "github.com/docker/compose/v5/cmd/compose"
	"github.com/docker/compose/v5/cmd/prompt"
	"github.com/docker/compose/v5/pkg/api"
	"github.com/docker/compose/v5/pkg/compose"
	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"
)

// Names under which the engine's binary is the one plugin or the other.
const (
	ComposeName = "docker-compose"
	BuildxName  = "docker-buildx"
)

// vendor is what the docker command wants to know of its plugins.
const vendor = "Docker Inc."

// Compose runs docker compose with os.Args, or docker-compose when nobody but a
// person called it. It ends the process unless all went well.
func Compose() int {
	if plugin.RunningStandalone() {
		os.Args = append([]string{"docker"}, compatibility.Convert(os.Args[1:])...)
	}
	version := "v" + api.ComposeVersion
	plugin.Run(composeCommand, metadata.Metadata{SchemaVersion: "0.1.0", Vendor: vendor, Version: version},
		command.WithUserAgent("compose/"+version))
	return 0
}

func composeCommand(dockerCli command.Cli) *cobra.Command {
	options := &commands.BackendOptions{Options: []compose.Option{
		compose.WithPrompt(prompt.NewPrompt(dockerCli.In(), dockerCli.Out()).Confirm),
	}}
	root := commands.RootCommand(dockerCli, options)
	root.AddCommand(commands.HooksCommand())
	own := root.PersistentPreRunE
	root.PersistentPreRunE = func(cmd *cobra.Command, args []string) error {
		if err := plugin.PersistentPreRunE(cmd, args); err != nil {
			return err
		}
		if err := cmdtrace.Setup(cmd, dockerCli, os.Args[1:]); err != nil {
			logrus.Debugf("traces: %v", err)
		}
		if own == nil {
			return nil
		}
		return own(cmd, args)
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return cli.StatusError{StatusCode: 1, Status: err.Error()}
	})
	return root
}
