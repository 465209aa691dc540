package cli

import (
	"errors"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/bulkhead-os/bulkhead/internal/bootstate"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/slots"
	"github.com/bulkhead-os/bulkhead/internal/version"
	"github.com/bulkhead-os/bulkhead/internal/work"
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
			p.osUpgradeCommand(),
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
			{
				Name: "verify", Usage: "read both systems on the disk and compare their digests",
				Description: "Ends with exit code 1 when one is damaged: ros os upgrade writes the other slot again.\n\n" +
					"Examples:\n   sudo ros os verify\n   sudo ros os verify --json",
				Flags:  []cli.Flag{boolFlag("json", "print JSON")},
				Action: osVerify,
			},
			{
				Name: "history", Usage: "show what became of upgrades, and why",
				Description: "The last one is the last line.\n\n" +
					"Examples:\n   sudo ros os history\n   sudo ros os history --json | jq 'last.cause'",
				Flags:  []cli.Flag{boolFlag("json", "print JSON")},
				Action: osHistory,
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

// systemsOnDisk lists the systems, if the machine runs from an installed disk.
func systemsOnDisk() ([]slots.System, error) {
	disk, err := slots.Booted("/")
	if errors.Is(err, slots.ErrNotInstalled) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return disk.Systems(slotDir)
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
	err = slots.History(layout.Upgrades).Add(slots.Event{
		Time: time.Now(), Outcome: slots.RolledBack, Slot: s.Slot, Version: s.Version, From: version.Version,
	})
	if err != nil {
		fmt.Fprintln(c.App.ErrWriter, "ros: the history does not get this:", err)
	}
	fmt.Fprintf(c.App.Writer, "Bulkhead %s in slot %s starts from the next boot on.\n", s.Version, s.Slot)
	if c.Bool("no-reboot") {
		return nil
	}
	return reboot()
}

// A verified system is one that was read.
type verified struct {
	Slot    bootstate.Slot `json:"slot"`
	Version string         `json:"version,omitempty"`
	Problem string         `json:"problem,omitempty"`
}

func osVerify(c *cli.Context) error {
	disk, err := bootedDisk()
	if err != nil {
		return err
	}
	systems, err := disk.Systems(slotDir)
	if err != nil {
		return err
	}
	bar := newProgressLine(c.App.ErrWriter)
	meter := &work.Meter{Report: bar.show}
	var list []verified
	bad := false
	for i, s := range systems {
		v := verified{s.Slot, s.Version, s.Problem}
		// A slot that never had a system is not damaged.
		if s.Version != "" {
			meter.Begin(i+1, len(systems), "slot "+string(s.Slot))
			if err := disk.Verify(c.Context, s.Slot, slotDir, meter); err != nil {
				v.Problem, bad = err.Error(), true
			}
		}
		list = append(list, v)
	}
	bar.end()
	if c.Bool("json") {
		err = writeJSON(c.App.Writer, list)
	} else {
		for _, v := range list {
			fmt.Fprintf(c.App.Writer, "%s  %s  %s\n", v.Slot, choose(v.Version == "", "-", v.Version), choose(v.Problem == "", "whole", v.Problem))
		}
	}
	if err == nil && bad {
		return errSilent
	}
	return err
}

func osHistory(c *cli.Context) error {
	if os.Geteuid() != 0 {
		return withSudo(fmt.Errorf("read the history: %w", os.ErrPermission))
	}
	events, err := slots.History(layout.Upgrades).Read()
	if err != nil {
		return err
	}
	if c.Bool("json") {
		if events == nil {
			events = []slots.Event{}
		}
		return writeJSON(c.App.Writer, events)
	}
	t := tabwriter.NewWriter(c.App.Writer, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "TIME\tFROM\tVERSION\tSLOT\tOUTCOME")
	for _, e := range events {
		outcome := string(e.Outcome)
		if e.Cause != "" {
			outcome += ": " + e.Cause
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", e.Time.Local().Format(time.DateTime), choose(e.From == "", "-", e.From), choose(e.Version == "", "-", e.Version), e.Slot, outcome)
	}
	return t.Flush()
}
