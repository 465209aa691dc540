package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/bulkhead-os/bulkhead/cmd/ros/apply"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

func (p places) applyCommand() *cli.Command {
	return &cli.Command{
		Name: "apply", Usage: "change the running system to what the configuration says now",
		Description: "Prints what changes now, which services restart, and what needs a reboot. With a mistake in the\n" +
			"configuration nothing happens. Ends with exit code 1 if something could not be done.\n\n" +
			"Examples:\n   sudo ros config apply --dry-run\n   sudo ros config set rancher.network.dns.nameservers \"[10.0.0.53]\" && sudo ros config apply",
		Flags:  []cli.Flag{boolFlag("dry-run", "print what would happen, and do nothing"), boolFlag("json", "print JSON")},
		Action: p.configApply,
	}
}

// applyReport is what apply did, for scripts.
type applyReport struct {
	Changes []apply.Change `json:"changes"`
	// Applied is false for a dry run, and when something failed.
	Applied bool `json:"applied"`
	// Reboot: something is in force only after one.
	Reboot bool     `json:"reboot"`
	Errors []string `json:"errors"`
}

func (p places) configApply(c *cli.Context) error {
	line, err := os.ReadFile(p.kernelLine)
	if err != nil {
		return err
	}
	if c.Bool("dry-run") {
		s, err := apply.Read(p.root, string(line))
		if err != nil {
			return withSudo(err)
		}
		plan, err := planChanges(c, s)
		if err != nil {
			return err
		}
		return writeApplied(c, applyReport{Changes: plan.Changes, Reboot: plan.Has(apply.Reboot)})
	}
	return withSudo(apply.Apply(c.Context, p.root, string(line), func(s apply.State) error {
		plan, err := planChanges(c, s)
		if err != nil {
			return err
		}
		r := applyReport{Changes: plan.Changes, Reboot: plan.Has(apply.Reboot)}
		do := p.steps(s.Since, s.Wanted)
		for _, step := range plan.Steps {
			if err := do(c.Context, step); err != nil {
				r.Errors = append(r.Errors, fmt.Sprintf("%s: %v", step, err))
			}
		}
		r.Applied = r.Errors == nil
		if err := writeApplied(c, r); err != nil || r.Applied {
			return err
		}
		return apply.ErrPart
	}))
}

// planChanges makes the plan, or tells the mistakes that there must be none of.
func planChanges(c *cli.Context, s apply.State) (apply.Plan, error) {
	for _, problem := range s.Problems {
		fmt.Fprintln(c.App.ErrWriter, problem)
	}
	if osconfig.AnyError(s.Problems) {
		return apply.Plan{}, errors.New("nothing is applied: mend the configuration first (ros config validate --machine)")
	}
	return apply.MakePlan(s.Boot, s.Since, s.Wanted), nil
}

func writeApplied(c *cli.Context, r applyReport) error {
	if c.Bool("json") {
		r.Changes = append([]apply.Change{}, r.Changes...)
		r.Errors = append([]string{}, r.Errors...)
		return writeJSON(c.App.Writer, r)
	}
	if len(r.Changes) == 0 {
		fmt.Fprintln(c.App.Writer, "Nothing to do: the machine is as the configuration says.")
		return nil
	}
	t := tabwriter.NewWriter(c.App.Writer, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "KEY\tEFFECT\tWHY")
	for _, ch := range r.Changes {
		fmt.Fprintf(t, "%s\t%s\t%s\n", ch.Key, ch.What(), ch.Reason)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, text := range r.Errors {
		fmt.Fprintf(c.App.ErrWriter, "ros: %s\n", text)
	}
	return nil
}

// steps returns what does the steps of a plan on the running system.
func steps(since []osconfig.Config, wanted osconfig.Config) func(context.Context, apply.Step) error {
	// An action reports an error or nothing.
	return apply.Machine{Log: slog.New(slog.DiscardHandler), Since: since, Wanted: wanted}.Do
}
