package cli

import (
	"fmt"
	"os"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/bulkhead-os/bulkhead/internal/slots"
	"github.com/bulkhead-os/bulkhead/internal/version"
)

func (p places) osCommand() *cli.Command {
	return &cli.Command{
		Name:  "os",
		Usage: "the operating system itself",
		Subcommands: []*cli.Command{
			{
				Name:  "version",
				Usage: "print the version that is running",
				Action: func(c *cli.Context) error {
					fmt.Fprintln(c.App.Writer, version.Version)
					return nil
				},
			},
			{
				Name: "list", Aliases: []string{"ls"}, Usage: "list the systems on the disk",
				Description: "An installed disk has two slots for systems: see ros install --help.\n\n" +
					"Examples:\n   sudo ros os list\n   sudo ros os list --json",
				Flags:  []cli.Flag{boolFlag("json", "print JSON")},
				Action: osList,
			},
			{
				Name: "rollback", Usage: "start the other system on the disk from now on",
				Description: "State, data and configuration stay as they are. The machine reboots.\n\n" +
					"Examples:\n   sudo ros os rollback\n   sudo ros os rollback --yes --no-reboot",
				Flags:  []cli.Flag{boolFlag("yes", "ask nothing", "y"), boolFlag("no-reboot", "leave the machine running")},
				Action: osRollback,
			},
		},
	}
}

// slotDir is where the other slot is mounted.
const slotDir = installDir + "/slot"

// bootedDisk returns the disk that the machine booted from.
func bootedDisk() (slots.Disk, error) {
	if os.Geteuid() != 0 {
		return slots.Disk{}, withSudo(fmt.Errorf("look at the disk: %w", os.ErrPermission))
	}
	return slots.Booted("/")
}

func osList(c *cli.Context) error {
	disk, err := bootedDisk()
	if err != nil {
		return err
	}
	systems, err := disk.Systems(slotDir)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return writeJSON(c.App.Writer, systems)
	}
	t := tabwriter.NewWriter(c.App.Writer, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "SLOT\tVERSION\tSTATE")
	for _, s := range systems {
		fmt.Fprintf(t, "%s\t%s\t%s\n", s.Slot, choose(s.Version == "", "-", s.Version), systemState(s))
	}
	return t.Flush()
}

// systemState describes a system to people.
func systemState(s slots.System) string {
	switch {
	case s.Problem != "":
		return s.Problem
	case s.Running && s.Good:
		return "runs"
	case s.Running && s.Trial:
		return "runs on trial"
	case s.Running:
		return "runs until the next boot"
	case s.Trial:
		return "on trial from the next boot on"
	case s.Good:
		return "from the next boot on"
	}
	return "-"
}

func osRollback(c *cli.Context) error {
	disk, err := bootedDisk()
	if err != nil {
		return err
	}
	if err := confirm(c, "The machine starts the system in slot "+string(disk.Running.Other())+" from now on."); err != nil {
		return err
	}
	s, err := disk.Rollback(slotDir)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.App.Writer, "Bulkhead %s in slot %s starts from the next boot on.\n", s.Version, s.Slot)
	if c.Bool("no-reboot") {
		return nil
	}
	return reboot()
}
