package cli

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
	"github.com/bulkhead-os/bulkhead/sysdocker/control"
	"github.com/bulkhead-os/bulkhead/sysdocker/plan"
)

// configuredCommand returns the command for a verb about some or all services
// of the configuration.
func (p places) configuredCommand(verb control.Verb, name, usage string) *cli.Command {
	return &cli.Command{
		Name: name, Usage: usage, ArgsUsage: "[SERVICE...]",
		Description: "Ends with exit code 1, and says why, if something cannot be done; it is tried again and again all the\n" +
			"same.\n\nExamples:\n   sudo ros service " + name + "\n   sudo ros service " + name + " web",
		BashComplete: p.completeConfigured,
		Action: func(c *cli.Context) error {
			return p.requestConfigured(c, verb, c.Args().Slice())
		},
	}
}

// requestConfigured hands on a request for some services of the configuration, or
// for all if there are none.
func (p places) requestConfigured(c *cli.Context, verb control.Verb, names []string) error {
	return p.request(c, control.Request{Verb: verb, Configured: true, Services: names})
}

func (p places) removeCommand() *cli.Command {
	flags := []cli.Flag{boolFlag("force", "also containers that run", "f")}
	return &cli.Command{
		Name: "rm", Usage: "remove the containers of services until ros service up or the next boot", ArgsUsage: "SERVICE...",
		Description: "Volumes without a name go, too.\n\nExamples:\n   sudo ros service stop web && sudo ros service rm web",
		Flags:       flags, BashComplete: p.completeConfigured,
		Action: func(c *cli.Context) error {
			if c.NArg() == 0 {
				return usageError{errors.New("service rm: name at least one service")}
			}
			var names []string
			for _, name := range c.Args().Slice() {
				s, err := p.find(c.Context, name)
				switch {
				case err != nil:
					return err
				case !s.Configured:
					return fmt.Errorf("service %s is one of the OS, which makes it again: see ros service stop", name)
				case s.State == string(dockerapi.Running) && !c.Bool("force"):
					return fmt.Errorf("service %s runs: stop it before, or say --force", name)
				}
				names = append(names, s.entry)
			}
			return p.requestConfigured(c, control.Remove, names)
		},
	}
}

// completeConfigured offers the names of services of the configuration.
func (p places) completeConfigured(c *cli.Context) {
	// One of the daemons may be silent.
	services, _ := p.configured(c.Context)
	for _, s := range services {
		fmt.Fprintln(c.App.Writer, s.entry)
	}
	complete(nil, c.Command.Flags)(c)
}

// plannedAction is something that ros service up would do.
type plannedAction struct {
	Tier    string    `json:"tier"`
	Service string    `json:"service"`
	Action  plan.Kind `json:"action"`
	// Object is a network or an image.
	Object string   `json:"object,omitempty"`
	Reason string   `json:"reason"`
	After  []string `json:"after,omitempty"`
}

// servicePlan is what ros service plan tells.
type servicePlan struct {
	Actions []plannedAction `json:"actions"`
	// Problems are why something does not happen.
	Problems []string `json:"problems"`
}

func (p places) planCommand() *cli.Command {
	return &cli.Command{
		Name: "plan", Usage: "print what ros service up would do about services of the configuration, and why",
		Description: "A dry run. OS services are not listed; they are reconciled continuously. Ends with exit code 1\n" +
			"if a mistake or a daemon is in the way of a service.\n\nExamples:\n   sudo ros service plan\n   sudo ros service plan --json | jq '.actions[].action'",
		Flags: []cli.Flag{boolFlag("json", "print JSON")},
		Action: func(c *cli.Context) error {
			planned, err := p.plan(c)
			if err != nil {
				return err
			}
			if c.Bool("json") {
				err = writeJSON(c.App.Writer, planned)
			} else {
				err = planned.write(c)
			}
			if err == nil && len(planned.Problems) > 0 {
				return errSilent
			}
			return err
		},
	}
}

func (p places) plan(c *cli.Context) (servicePlan, error) {
	planned := servicePlan{Actions: []plannedAction{}, Problems: []string{}}
	cfg, _, problems, err := p.load()
	if err != nil {
		return planned, err
	}
	records, err := control.Read(p.records)
	if err != nil {
		return planned, withSudo(err)
	}
	selection := cfg.Rancher.Select(p.root, catalogue)
	wants, mistakes := entries(cfg, selection, records)
	for _, problem := range osconfig.Errors(slices.Concat(problems, selection.Problems)) {
		planned.Problems = append(planned.Problems, problem.String())
	}
	for _, m := range mistakes {
		planned.Problems = append(planned.Problems, m.Key+": "+m.Text)
	}
	for _, key := range selection.Missing {
		planned.Problems = append(planned.Problems, key+" is not there: "+osconfig.StoredServices(key))
	}
	// A service may be missing because of a mistake.
	complete := len(planned.Problems) == 0
	for _, tier := range []string{systemTier, userTier} {
		ours := slices.DeleteFunc(slices.Clone(wants), func(w plan.Want) bool { return w.System != (tier == systemTier) })
		existing, err := p.containers(c.Context, tier, "")
		if err != nil {
			planned.Problems = append(planned.Problems, fmt.Sprintf("%s Docker: %v", tier, err))
			continue
		}
		actions, taken := plan.Converge(ours, existing, complete)
		for _, problem := range taken {
			planned.Problems = append(planned.Problems, problem.String())
		}
		for _, a := range actions {
			planned.Actions = append(planned.Actions, plannedAction{
				Tier: tier, Service: a.Service, Action: a.Kind, Object: a.Object, Reason: a.Reason, After: a.After,
			})
		}
	}
	return planned, nil
}

// entries are what the services of a configuration should be, and what is wrong
// with others.
func entries(cfg osconfig.Config, selection osconfig.Selection, records map[string]control.Record) ([]plan.Want, []osconfig.Problem) {
	// The error is about OS services, of which there are none.
	wants, mistakes, _ := plan.Desired(plan.Inputs{Rancher: cfg.Rancher, Selection: selection, Records: records, ReadFile: os.ReadFile})
	return wants, mistakes
}

func (s servicePlan) write(c *cli.Context) error {
	for _, problem := range s.Problems {
		fmt.Fprintf(c.App.ErrWriter, "ros: %s\n", problem)
	}
	if len(s.Actions) == 0 {
		fmt.Fprintln(c.App.Writer, "Nothing to do: services are as the configuration says.")
		return nil
	}
	t := tabwriter.NewWriter(c.App.Writer, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "TIER\tSERVICE\tACTION\tWHY")
	for _, a := range s.Actions {
		what := string(a.Action)
		if a.Object != "" {
			what += " " + a.Object
		}
		if len(a.After) > 0 {
			what += " after " + strings.Join(a.After, ", ")
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", a.Tier, a.Service, what, a.Reason)
	}
	return t.Flush()
}
