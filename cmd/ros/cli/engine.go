package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	"github.com/bulkhead-os/bulkhead/sysdocker/control"
)

// An engineImage is an engine that user Docker can be.
type engineImage struct {
	// Version is Docker's; empty if the image does not say.
	Version string `json:"version"`
	Image   string `json:"image"`
	Shipped bool   `json:"shipped"`
	Running bool   `json:"running"`
	// Enabled: it is what runs after the next boot.
	Enabled bool `json:"enabled"`
}

// engineList is what ros engine list prints.
type engineList struct {
	// Engines are those that user Docker can be.
	Engines []engineImage `json:"engines"`
	// Further are the other user engines.
	Further []furtherEngine `json:"further"`
}

func (p places) engineCommand() *cli.Command {
	return &cli.Command{
		Name:  "engine",
		Usage: "the engine of user Docker",
		Description: "An engine is an image for the service docker. The shipped one is always there.\n\n" +
			"Examples:\n   sudo ros engine list\n   sudo ros engine switch ./engine-29.7.0.tar\n   sudo ros engine switch 29.8.1",
		Subcommands: []*cli.Command{
			{
				Name: "list", Aliases: []string{"ls"}, Usage: "list the engines that System Docker has",
				Flags: []cli.Flag{boolFlag("json", "print JSON")},
				Action: func(c *cli.Context) error {
					engines, err := p.engines(c.Context)
					if err != nil {
						return err
					}
					further, err := p.furtherEngines(c.Context)
					if err != nil {
						return err
					}
					if c.Bool("json") {
						return writeJSON(c.App.Writer, engineList{engines, further})
					}
					t := tabwriter.NewWriter(c.App.Writer, 0, 0, 3, ' ', 0)
					fmt.Fprintln(t, "VERSION\tIMAGE\tORIGIN\tSTATE")
					for _, e := range engines {
						state := choose(e.Running, "runs", "-")
						if e.Running != e.Enabled {
							state = choose(e.Running, "runs until the next boot", "from the next boot on")
						}
						fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", e.Version, control.ShortID(e.Image), choose(e.Shipped, "shipped", "loaded"), state)
					}
					if err := t.Flush(); err != nil || len(further) == 0 {
						return err
					}
					fmt.Fprintln(t, "\nNAME\tADDRESS\tSTATE\tSOCKET")
					for _, e := range further {
						fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", e.Name, e.Address, e.Status, e.Socket)
					}
					return t.Flush()
				},
			},
			{
				Name: "switch", Usage: "run user Docker with another engine, if it works", ArgsUsage: "VERSION|IMAGE|ARCHIVE",
				Description: "User containers go on running meanwhile: they keep processes, network and logs. An engine that is not\n" +
					"healthy within 30 seconds is replaced by the previous one. Containers of an engine of another major\n" +
					"version cannot be taken over: then nothing happens. With --force they stop, as when the machine goes down;\n" +
					"the new engine has the same images, volumes and containers, and starts those with a restart policy.\n\n" +
					"Examples:\n   sudo ros engine switch 29.8.1\n   sudo ros engine switch ./engine-29.7.0.tar\n" +
					"   sudo ros engine switch --force ./engine-26.1.5.tar",
				Flags:        []cli.Flag{boolFlag("force", "switch whatever the versions are, and stop the containers if need be")},
				BashComplete: p.completeEngines,
				Action:       p.engineSwitch,
			},
			{
				Name: "enable", Usage: "run user Docker with another engine from the next boot on", ArgsUsage: "VERSION|IMAGE|ARCHIVE",
				Description: "Nothing changes before. Containers stop and start with the machine, so any version is near enough. If the\n" +
					"engine does not work then, the shipped one runs.\n\n" +
					"Examples:\n   sudo ros engine enable 29.8.1\n   sudo ros engine enable ./engine-26.1.5.tar",
				BashComplete: p.completeEngines,
				Action:       p.engineEnable,
			},
			p.engineCreateCommand(),
			p.engineRemoveCommand(),
		},
	}
}

// engines lists the engines of System Docker, the shipped one first.
func (p places) engines(ctx context.Context) ([]engineImage, error) {
	daemon, err := p.connect(p.systemSocket)
	if err != nil {
		return nil, err
	}
	defer daemon.Close()
	list, err := daemon.Images(ctx, images.LabelEngine)
	if err != nil {
		return nil, err
	}
	shipped, err := p.shipped(images.UserDocker)
	if err != nil {
		return nil, err
	}
	s, err := p.find(ctx, images.UserDocker)
	if err != nil {
		return nil, err
	}
	enabled := s.Image
	if enabled == "" {
		enabled = shipped.Manifest
	}
	var engines []engineImage
	for _, i := range list {
		e := engineImage{
			Version: i.Labels[images.LabelEngine], Image: i.ID, Shipped: i.ID == shipped.Manifest,
			Running: i.ID == s.imageID, Enabled: i.ID == enabled,
		}
		if e.Shipped {
			engines = append([]engineImage{e}, engines...)
		} else {
			engines = append(engines, e)
		}
	}
	return engines, nil
}

func (p places) completeEngines(c *cli.Context) {
	engines, _ := p.engines(c.Context)
	for _, e := range engines {
		fmt.Fprintln(c.App.Writer, e.Version)
	}
}

// engineImage provides the image of the engine that ref, a version, an image or
// an archive, names.
func (p places) engineImage(ctx context.Context, ref string) (dockerapi.Image, error) {
	engines, err := p.engines(ctx)
	if err != nil {
		return dockerapi.Image{}, err
	}
	if i := slices.IndexFunc(engines, func(e engineImage) bool { return e.Version == ref }); i >= 0 {
		ref = engines[i].Image
	}
	return p.provide(ctx, ref)
}

// engineID is the ID of an engine's image, as requests have it.
func (p places) engineID(ctx context.Context, ref string) (id, version string, err error) {
	image, err := p.engineImage(ctx, ref)
	if err != nil {
		return "", "", err
	}
	if version, err = versionOf(image); err != nil {
		return "", "", err
	}
	shipped, err := p.shipped(images.UserDocker)
	if err != nil || image.ID == shipped.Manifest {
		return "", version, err
	}
	return image.ID, version, nil
}

func (p places) engineSwitch(c *cli.Context) error {
	if err := arguments(c, 1); err != nil {
		return err
	}
	image, err := p.engineImage(c.Context, c.Args().First())
	if err != nil {
		return err
	}
	return p.upgrade(c, images.UserDocker, image)
}

func (p places) engineEnable(c *cli.Context) error {
	if err := arguments(c, 1); err != nil {
		return err
	}
	id, version, err := p.engineID(c.Context, c.Args().First())
	if err != nil {
		return err
	}
	if err := p.request(c, control.Request{Verb: control.Enable, Service: images.UserDocker, Image: id}); err != nil {
		return err
	}
	fmt.Fprintf(c.App.Writer, "User Docker is engine %s from the next boot on.\n", version)
	return nil
}

// engineRollback is ros service rollback of the engine, whose previous image
// may be as far away as any other.
func (p places) engineRollback(c *cli.Context) error {
	records, err := control.Read(p.records)
	if err != nil {
		return withSudo(err)
	}
	if previous := records[images.UserDocker].Previous; previous != nil {
		if _, err := p.drain(c.Context, *previous, false); err != nil {
			return err
		}
	}
	return p.request(c, control.Request{Verb: control.Rollback, Service: images.UserDocker})
}

// drain reports whether the containers that are up have to stop for user Docker's
// engine to become that of an image; an empty ID is the shipped one's. With an
// error it must not be tried without force.
//
// Docker's live-restore is for versions near each other.
func (p places) drain(ctx context.Context, id string, force bool) (bool, error) {
	to, err := p.engineVersion(ctx, id)
	if err != nil {
		return false, err
	}
	daemon, err := p.connect(p.userSocket)
	if err != nil {
		return false, err
	}
	defer daemon.Close()
	info, err := daemon.Info(ctx)
	switch {
	case err != nil && force:
		return false, nil
	case err != nil:
		return false, fmt.Errorf("cannot ask user Docker what it runs: %w; use ros engine switch --force to switch anyway", err)
	case major(to) == major(info.Version):
		return false, nil
	}
	if up := info.Running + info.Paused; up > 0 && !force {
		return false, fmt.Errorf("engine %s cannot take over the containers that %s runs (%d), and nothing has been stopped: "+
			"with ros engine switch --force they stop as when the machine goes down, and those with a restart policy start again",
			to, info.Version, up)
	}
	return true, nil
}

// engineVersion is the version of the engine in an image of System Docker; an
// empty ID is the shipped one's.
func (p places) engineVersion(ctx context.Context, id string) (string, error) {
	if id == "" {
		shipped, err := p.shipped(images.UserDocker)
		if err != nil {
			return "", err
		}
		id = shipped.Manifest
	}
	daemon, err := p.connect(p.systemSocket)
	if err != nil {
		return "", err
	}
	defer daemon.Close()
	image, err := daemon.Image(ctx, id)
	if err != nil {
		return "", err
	}
	return versionOf(image)
}

// versionOf is what the image of an engine says it is.
func versionOf(image dockerapi.Image) (string, error) {
	version := image.Labels[images.LabelEngine]
	if version == "" {
		return "", fmt.Errorf("%s is not an engine image: label %s is missing", control.ShortID(image.ID), images.LabelEngine)
	}
	return version, nil
}

// major is the part of a version up to the first dot.
func major(version string) string {
	m, _, _ := strings.Cut(version, ".")
	return m
}
