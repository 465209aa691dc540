package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
	"github.com/bulkhead-os/bulkhead/os-config/conffile"
	"github.com/bulkhead-os/bulkhead/sysdocker/control"
)

// consoleKey is where the configuration names the console to boot with.
const consoleKey = "rancher.console"

// consoleArgument is what names a console.
const consoleArgument = "NAME|IMAGE|ARCHIVE"

// A consoleImage is a console that people can work in.
type consoleImage struct {
	Name string `json:"name"`
	// Image is its ID; empty for none.
	Image   string `json:"image"`
	Running bool   `json:"running"`
	// Enabled: the next boot takes it.
	Enabled bool `json:"enabled"`
	// Kept: what is changed in it lasts over reboots.
	Kept bool `json:"kept"`
}

func (p places) consoleCommand() *cli.Command {
	yes := boolFlag("yes", "do not ask", "y", "force", "f")
	return &cli.Command{
		Name:  "console",
		Usage: "where people work: SSH server, login prompts, shell",
		Description: "A console is an image for the service console, named by its label " + images.LabelConsole + ". " + images.DefaultConsole + " is\n" +
			"the shipped one and always there; with " + images.NoConsole + " the machine has none, and user Docker is the way to use it.\n\n" +
			"Examples:\n   sudo ros console list\n   sudo ros console switch ./console-debian.tar.zst\n   sudo ros console enable default",
		Subcommands: []*cli.Command{
			{
				Name: "list", Aliases: []string{"ls"}, Usage: "list the consoles that System Docker has",
				Description: "* marks the one that runs, NEXT BOOT the one of " + consoleKey + ".\n\n" +
					"Example:\n   sudo ros console list --json | jq -r '.[] | select(.running).name'",
				Flags:  []cli.Flag{boolFlag("json", "print JSON")},
				Action: p.consoleList,
			},
			{
				Name: "switch", Usage: "run another console, if it works", ArgsUsage: consoleArgument,
				Description: "All sessions of the console end, this one too; log in again after some seconds. A console that is not healthy\n" +
					"within 30 seconds is replaced by the previous one: see ros service history console. User containers are\n" +
					"not touched. Later boots have the new console.\n\n" +
					"Examples:\n   sudo ros console switch debian\n   sudo ros console switch --yes ./console-debian.tar.zst",
				Flags: []cli.Flag{yes}, BashComplete: p.completeConsoles(yes), Action: p.consoleSwitch,
			},
			{
				Name: "enable", Usage: "take another console at the next boot", ArgsUsage: consoleArgument,
				Description: "It sets " + consoleKey + " in " + layout.CloudConfig + ".\n\n" +
					"Examples:\n   sudo ros console enable debian\n   sudo ros console enable " + images.NoConsole,
				BashComplete: p.completeConsoles(), Action: p.consoleEnable,
			},
			p.consoleExecCommand(),
		},
	}
}

// consoles lists what the console can be, the shipped one first, none last.
func (p places) consoles(ctx context.Context) ([]consoleImage, error) {
	cfg, _, _, err := p.load()
	if err != nil {
		return nil, err
	}
	records, err := control.Read(p.records)
	if err != nil {
		return nil, withSudo(err)
	}
	shipped, err := p.shipped(images.Console)
	if err != nil {
		return nil, err
	}
	daemon, err := p.connect(p.systemSocket)
	if err != nil {
		return nil, err
	}
	defer daemon.Close()
	labelled, err := daemon.Images(ctx, images.LabelConsole)
	if err != nil {
		return nil, err
	}
	list := []consoleImage{{Name: images.DefaultConsole, Image: shipped.Manifest}}
	for _, i := range labelled {
		list = append(list, consoleImage{Name: i.Labels[images.LabelConsole], Image: i.ID, Kept: i.Labels[images.LabelKept] == "true"})
	}
	list = append(list, consoleImage{Name: images.NoConsole})
	for i, c := range list {
		list[i].Running = c.runs(records[images.Console], shipped.Manifest)
		list[i].Enabled = c.Name == cfg.Rancher.Console || c.Image != "" && c.Image == cfg.Rancher.Console
	}
	return list, nil
}

// runs reports whether a record of the service console is about c.
func (c consoleImage) runs(r control.Record, shipped string) bool {
	switch {
	case r.Stopped:
		return c.Name == images.NoConsole
	case r.Image == "":
		return c.Image == shipped
	}
	return c.Image == r.Image
}

func (p places) consoleList(c *cli.Context) error {
	consoles, err := p.consoles(c.Context)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return writeJSON(c.App.Writer, consoles)
	}
	t := tabwriter.NewWriter(c.App.Writer, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "\tNAME\tIMAGE\tNEXT BOOT\tCHANGES IN IT")
	for _, console := range consoles {
		mark, image, next, changes := "", "-", "", "last until the next boot"
		if console.Running {
			mark = "*"
		}
		if console.Enabled {
			next = "yes"
		}
		switch {
		case console.Image == "":
			changes = "-"
		case console.Kept:
			changes = "last over reboots"
		}
		if console.Image != "" {
			image = control.ShortID(console.Image)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", mark, console.Name, image, next, changes)
	}
	return t.Flush()
}

// completeConsoles offers the names of consoles and the flags.
func (p places) completeConsoles(flags ...cli.Flag) cli.BashCompleteFunc {
	return func(c *cli.Context) {
		consoles, _ := p.consoles(c.Context)
		for _, console := range consoles {
			fmt.Fprintln(c.App.Writer, console.Name)
		}
		complete(nil, flags)(c)
	}
}

// findConsole returns the console that people mean, and loads or pulls its
// image if need be.
func (p places) findConsole(ctx context.Context, ref string) (consoleImage, error) {
	consoles, err := p.consoles(ctx)
	if err != nil {
		return consoleImage{}, err
	}
	is := func(ref string) func(consoleImage) bool {
		return func(c consoleImage) bool { return c.Name == ref || c.Image == ref }
	}
	if i := slices.IndexFunc(consoles, is(ref)); i >= 0 {
		return consoles[i], nil
	}
	image, err := p.provide(ctx, ref)
	if err != nil {
		return consoleImage{}, err
	}
	name := image.Labels[images.LabelConsole]
	if name == "" || name == images.DefaultConsole || name == images.NoConsole {
		return consoleImage{}, fmt.Errorf("%s is no console: want an image whose label %s has a name of its own", ref, images.LabelConsole)
	}
	if consoles, err = p.consoles(ctx); err != nil {
		return consoleImage{}, err
	}
	if i := slices.IndexFunc(consoles, is(image.ID)); i >= 0 {
		return consoles[i], nil
	}
	return consoleImage{}, fmt.Errorf("System Docker lists no image %s of console %s", control.ShortID(image.ID), name)
}

func (p places) consoleSwitch(c *cli.Context) error {
	if err := arguments(c, 1); err != nil {
		return err
	}
	console, err := p.findConsole(c.Context, c.Args().First())
	if err != nil {
		return err
	}
	if console.Running {
		fmt.Fprintf(c.App.Writer, "Console %s runs already.\n", console.Name)
		return p.enable(c, console)
	}
	request, err := p.consoleRequest(console)
	if err != nil {
		return err
	}
	warning := "All sessions of the console end, this one too. Log in again after some seconds."
	if request.Verb == control.Stop {
		warning = "All sessions end, and nobody can log in again: boot with " + consoleKey + "=" + images.DefaultConsole + " on the kernel command line for that."
	}
	if err := confirm(c, warning); err != nil {
		return err
	}
	if err := p.request(c, request); err != nil {
		return err
	}
	fmt.Fprintf(c.App.Writer, "Console %s runs.\n", console.Name)
	return nil
}

// consoleRequest is what makes the orchestrator run a console.
func (p places) consoleRequest(console consoleImage) (control.Request, error) {
	r := control.Request{Verb: control.Upgrade, Service: images.Console}
	if console.Name == images.NoConsole {
		r.Verb = control.Stop
		return r, nil
	}
	records, err := control.Read(p.records)
	if err != nil {
		return r, err
	}
	if console.Name != images.DefaultConsole {
		r.Image = console.Image
	}
	if records[images.Console].Image == r.Image { // It was stopped.
		r.Verb, r.Image = control.Start, ""
	}
	return r, nil
}

func (p places) consoleEnable(c *cli.Context) error {
	if err := arguments(c, 1); err != nil {
		return err
	}
	console, err := p.findConsole(c.Context, c.Args().First())
	if err != nil {
		return err
	}
	return p.enable(c, console)
}

// enable makes a console the one of the boots to come.
func (p places) enable(c *cli.Context, console consoleImage) error {
	consoles, err := p.consoles(c.Context)
	if err != nil {
		return err
	}
	value := console.Name
	namesakes := 0
	for _, other := range consoles {
		if other.Name == console.Name {
			namesakes++
		}
	}
	if namesakes > 1 {
		value = console.Image
	}
	err = conffile.Edit(c.Context, filepath.Join(p.root, layout.CloudConfig), func(old []byte) ([]byte, error) {
		return osconfig.Set(old, consoleKey, value)
	})
	if err != nil {
		return withSudo(err)
	}
	cfg, origins, _, err := p.load()
	if err != nil {
		return err
	}
	if cfg.Rancher.Console != value {
		return fmt.Errorf("%s is set to %s, but %s says %s", consoleKey, value, origins[consoleKey].Source, cfg.Rancher.Console)
	}
	fmt.Fprintf(c.App.Writer, "The next boot has console %s.\n", console.Name)
	return nil
}
