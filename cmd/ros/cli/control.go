package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/sysdocker/control"
	"github.com/bulkhead-os/bulkhead/sysdocker/preload"
)

// lifelines are the OS services without which people lose the machine.
var lifelines = []string{images.Console, images.UserDocker, "network", "udev"}

// verbCommand returns the command for a verb that needs nothing but a service.
func (p places) verbCommand(verb control.Verb, usage string, flags ...cli.Flag) *cli.Command {
	return &cli.Command{
		Name: string(verb), Usage: usage, ArgsUsage: serviceArgument, Flags: flags,
		BashComplete: p.completeServices(flags...),
		Action: func(c *cli.Context) error {
			if err := arguments(c, 1); err != nil {
				return err
			}
			s, err := p.find(c.Context, c.Args().First())
			switch {
			case err != nil:
				return err
			case s.Configured && verb == control.Rollback:
				return fmt.Errorf("service %s is no OS service: its image is what rancher.services says", s.Name)
			case s.Configured:
				return p.requestConfigured(c, verb, []string{s.entry})
			case verb == control.Stop && slices.Contains(lifelines, s.Name) && !c.Bool("force"):
				return fmt.Errorf("stopping %s makes this machine unreachable, also after a reboot; use --force to stop it anyway", s.Name)
			}
			if verb == control.Rollback && s.Name == images.UserDocker {
				return p.engineRollback(c)
			}
			return p.request(c, control.Request{Verb: verb, Service: s.Name})
		},
	}
}

// request hands a request to the orchestrator and tells people how it goes.
func (p places) request(c *cli.Context, r control.Request) error {
	err := control.Do(c.Context, p.controlSocket, r, func(text string) { progress("%s", strings.TrimPrefix(r.Service+": "+text, ": ")) })
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w; it is being started: try again in a minute", err)
	}
	return withSudo(err)
}

// progress tells people at a terminal what is being done.
func progress(format string, args ...any) {
	if term.IsTerminal(int(os.Stderr.Fd())) {
		fmt.Fprintf(os.Stderr, format+"\n", args...)
	}
}

func (p places) upgradeCommand() *cli.Command {
	return &cli.Command{
		Name: "upgrade", Usage: "run an OS service from another image, if it works", ArgsUsage: "SERVICE [IMAGE|ARCHIVE]",
		Description: "The image is one of System Docker, of a registry, or in an archive of docker save; without one it is the\n" +
			"shipped image. Its container has 30 seconds to be healthy. Otherwise the previous image runs again, and the\n" +
			"exit code is 1. Other services and user containers are not touched. See also rollback and history.\n\n" +
			"Examples:\n   sudo ros service upgrade ntp ./ntp.tar\n   sudo ros service upgrade syslog registry.example.org/syslog:2\n   sudo ros service upgrade ntp",
		BashComplete: p.completeServices(),
		Action: func(c *cli.Context) error {
			if n := c.NArg(); n < 1 || n > 2 {
				return usageError{errors.New("usage: ros service upgrade SERVICE [IMAGE|ARCHIVE]")}
			}
			image, err := p.provide(c.Context, c.Args().Get(1))
			if err != nil {
				return err
			}
			return p.upgrade(c, c.Args().Get(0), image)
		},
	}
}

// upgrade has a service run from an image of System Docker, or from the shipped
// one if it is the zero image.
func (p places) upgrade(c *cli.Context, name string, image dockerapi.Image) error {
	s, err := p.find(c.Context, name)
	if err != nil {
		return err
	}
	if s.Configured {
		return fmt.Errorf("service %s is no OS service: change rancher.services and say ros config apply", name)
	}
	if title := image.Labels[ocispec.AnnotationTitle]; title != "" && title != imageOf(name) {
		return fmt.Errorf("image %s is for service %s, not for %s", control.ShortID(image.ID), title, imageOf(name))
	}
	shipped, err := p.shipped(name)
	if err != nil {
		return err
	}
	r := control.Request{Verb: control.Upgrade, Service: name, Image: image.ID}
	if image.ID == shipped.Manifest {
		r.Image = ""
	}
	if name == images.UserDocker {
		if r.Drain, err = p.drain(c.Context, r.Image, c.Bool("force")); err != nil {
			return err
		}
	}
	if err := p.request(c, r); err != nil {
		return err
	}
	fmt.Fprintf(c.App.Writer, "Service %s runs from %s.\n", name, control.ImageName(r.Image))
	return nil
}

// provide makes sure that System Docker has an image: ref is a file with an
// archive, or a reference. Without ref it is the zero image.
func (p places) provide(ctx context.Context, ref string) (dockerapi.Image, error) {
	if ref == "" {
		return dockerapi.Image{}, nil
	}
	daemon, err := p.connect(p.systemSocket)
	if err != nil {
		return dockerapi.Image{}, err
	}
	defer daemon.Close()
	if info, err := os.Stat(ref); err == nil && info.Mode().IsRegular() {
		progress("loading %s", ref)
		if ref, err = loadArchive(ctx, daemon, p.unpack, ref); err != nil {
			return dockerapi.Image{}, err
		}
	}
	image, err := daemon.Image(ctx, ref)
	if !dockerapi.IsNotFound(err) {
		return image, err
	}
	progress("pulling %s", ref)
	if err := daemon.PullImage(ctx, ref, dockerapi.Login{}); err != nil {
		return dockerapi.Image{}, fmt.Errorf("%s is neither a file nor an image in System Docker, and pulling it failed: %w", ref, err)
	}
	return daemon.Image(ctx, ref)
}

// loadArchive returns a reference to the only image in an archive.
func loadArchive(ctx context.Context, daemon engine, unpack preload.Opener, file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var refs []string
	err = preload.Open(ctx, unpack, f, func(plain io.Reader) error {
		refs, err = daemon.LoadImages(ctx, plain)
		return err
	})
	switch {
	case err != nil:
		return "", fmt.Errorf("%s: %w", file, err)
	case len(refs) != 1:
		return "", fmt.Errorf("%s has %d images, which are loaded now (%s): name the one to use", file, len(refs), strings.Join(refs, ", "))
	}
	return refs[0], nil
}

// imageOf is the service whose image a service is made from: further engines
// have that of the first one.
func imageOf(service string) string {
	if strings.HasPrefix(service, layout.UserEngines) {
		return images.UserDocker
	}
	return service
}

// shipped returns what the OS image has for a service.
func (p places) shipped(service string) (images.IndexEntry, error) {
	index, err := images.ReadIndex(p.imageIndex)
	if err != nil {
		return images.IndexEntry{}, err
	}
	i := slices.IndexFunc(index.Images, func(e images.IndexEntry) bool { return e.Name == imageOf(service) })
	if i < 0 {
		return images.IndexEntry{}, fmt.Errorf("%s: no image for service %s", p.imageIndex, service)
	}
	return index.Images[i], nil
}

func (p places) historyCommand() *cli.Command {
	flags := []cli.Flag{boolFlag("json", "print JSON")}
	return &cli.Command{
		Name: "history", Usage: "print which images a service was given, and how that went", ArgsUsage: serviceArgument,
		Flags: flags, BashComplete: p.completeServices(flags...),
		Action: func(c *cli.Context) error {
			if err := arguments(c, 1); err != nil {
				return err
			}
			name := c.Args().First()
			if _, err := p.shipped(name); err != nil {
				return err
			}
			records, err := control.Read(p.records)
			if err != nil {
				return withSudo(err)
			}
			events := records[name].Events
			if c.Bool("json") {
				return writeJSON(c.App.Writer, append([]control.Event{}, events...))
			}
			t := tabwriter.NewWriter(c.App.Writer, 0, 0, 3, ' ', 0)
			fmt.Fprintln(t, "TIME\tWHAT\tIMAGE\tRESULT")
			for _, e := range events {
				image, result := "shipped", "runs"
				if e.Image != "" {
					image = control.ShortID(e.Image)
				}
				if e.Error != "" {
					result = "went back: " + e.Error
				}
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", e.Time.Local().Format(time.DateTime), e.Verb, image, result)
			}
			return t.Flush()
		},
	}
}
