package dockercli

import (
	"errors"
	"fmt"
	"slices"

	"github.com/docker/cli/cli/command"
	"github.com/moby/moby/client/pkg/versions"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// A daemon is what is known of the other end. Both methods may connect to it,
// so they are called only for options and commands that depend on it.
type daemon interface {
	CurrentVersion() string
	ServerInfo() command.ServerInfo
}

// unsupported returns why the daemon cannot do what carries these annotations
// (of an option or a command), or nil. name is for the message.
func unsupported(name string, annotation func(string) (string, bool), d daemon) error {
	if v, ok := annotation("version"); ok && versions.LessThan(d.CurrentVersion(), v) {
		return fmt.Errorf("%s requires API version %s, but the Docker daemon API version is %s", name, v, d.CurrentVersion())
	}
	if v, ok := annotation("ostype"); ok && d.ServerInfo().OSType != "" && d.ServerInfo().OSType != v {
		return fmt.Errorf("%s is only supported on a Docker daemon running on %s, but the Docker daemon is running on %s", name, v, d.ServerInfo().OSType)
	}
	if _, ok := annotation("experimental"); ok && !d.ServerInfo().HasExperimental {
		return fmt.Errorf("%s is only supported on a Docker daemon with experimental features enabled", name)
	}
	return nil
}

func ofCommand(cmd *cobra.Command) func(string) (string, bool) {
	return func(key string) (string, bool) { v, ok := cmd.Annotations[key]; return v, ok }
}

func ofFlag(f *pflag.Flag) func(string) (string, bool) {
	return func(key string) (string, bool) {
		v, ok := f.Annotations[key]
		if len(v) == 0 {
			return "", ok
		}
		return v[0], ok
	}
}

// checkSupported refuses a command or a given option that the daemon does not know.
func checkSupported(cmd *cobra.Command, d daemon) error {
	for c := cmd; c != nil; c = c.Parent() {
		if err := unsupported(c.CommandPath(), ofCommand(c), d); err != nil {
			return err
		}
	}
	var errs []error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Changed {
			errs = append(errs, unsupported(fmt.Sprintf("%q", "--"+f.Name), ofFlag(f), d))
		}
	})
	return errors.Join(errs...)
}

// checkBeforeArgs puts that check before the one of a command's arguments,
// which would complain about the wrong thing.
func checkBeforeArgs(cmd *cobra.Command, d daemon) {
	for _, sub := range cmd.Commands() {
		checkBeforeArgs(sub, d)
	}
	if cmd.Args == nil || !annotated(cmd) {
		return
	}
	args := cmd.Args
	cmd.Args = func(cmd *cobra.Command, words []string) error {
		if err := checkSupported(cmd, d); err != nil {
			return err
		}
		return args(cmd, words)
	}
}

func annotated(cmd *cobra.Command) bool {
	for c := cmd; c != nil; c = c.Parent() {
		if len(c.Annotations) > 0 {
			return true
		}
	}
	return false
}

// hideUnsupported takes out of the help what the daemon does not know.
func hideUnsupported(cmd *cobra.Command, d daemon) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if names, ok := f.Annotations["top-level"]; ok && cmd.Parent() != nil && !within(cmd, names) {
			f.Hidden = true
		}
		f.Hidden = f.Hidden || unsupported("", ofFlag(f), d) != nil || swarmHides(ofFlag(f), d)
	})
	for _, sub := range cmd.Commands() {
		sub.Hidden = sub.Hidden || unsupported("", ofCommand(sub), d) != nil || swarmHides(ofCommand(sub), d)
	}
}

// swarmHides says whether something needs a swarm ("active") or a swarm
// manager ("manager") and the daemon is known to be none.
func swarmHides(annotation func(string) (string, bool), d daemon) bool {
	need, ok := annotation("swarm")
	if !ok {
		return false
	}
	status := d.ServerInfo().SwarmStatus
	if status == nil {
		return false
	}
	switch need {
	case "manager":
		return !status.ControlAvailable
	case "active":
		return status.NodeState == "inactive"
	}
	return false
}

// within says whether cmd or one above it has one of the names.
func within(cmd *cobra.Command, names []string) bool {
	for c := cmd; c != nil; c = c.Parent() {
		if slices.Contains(names, c.Name()) {
			return true
		}
	}
	return false
}
