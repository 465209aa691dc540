package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/urfave/cli/v2"

	osconfig "github.com/bulkhead-os/bulkhead/os-config"
	"github.com/bulkhead-os/bulkhead/sysdocker/plan"
)

func (p places) buildCommand() *cli.Command {
	flags := []cli.Flag{
		boolFlag("no-cache", "do not use the build cache"),
		boolFlag("pull", "get newer images to begin with"),
	}
	return &cli.Command{
		Name: "build", Usage: "make the images of services that say how (build)", ArgsUsage: "[SERVICE...]",
		Description: "ros service up runs them then; a container that has the previous image is not replaced: see rm.\n\n" +
			"Examples:\n   sudo ros service build\n   sudo ros service build --no-cache web && sudo ros service rm -f web && sudo ros service up web",
		Flags: flags, BashComplete: p.completeConfigured,
		Action: p.serviceBuild,
	}
}

func (p places) serviceBuild(c *cli.Context) error {
	cfg, _, _, err := p.load()
	if err != nil {
		return err
	}
	services, mistakes := entries(cfg, cfg.Rancher.Select(p.root, catalogue), nil)
	buildable := make(map[string]plan.Want)
	for _, s := range services {
		if s.Build.Context != "" {
			buildable[s.Name] = s
		}
	}
	names := c.Args().Slice()
	if len(names) == 0 {
		names = slices.Sorted(maps.Keys(buildable))
	}
	if len(names) == 0 {
		return errors.New("no service says how to build its image")
	}
	for _, name := range names {
		s, has := buildable[name]
		if i := slices.IndexFunc(mistakes, func(m osconfig.Problem) bool { return m.Source == name }); i >= 0 {
			return fmt.Errorf("%s: %s", mistakes[i].Key, mistakes[i].Text)
		}
		if !has {
			return fmt.Errorf("service %s does not say how to build its image: want rancher.services.%s.build", name, name)
		}
		if err := p.build(c.Context, buildLine(s, c.Bool("no-cache"), c.Bool("pull"))); err != nil {
			return fmt.Errorf("service %s: %w", name, err)
		}
	}
	return nil
}

// buildLine is the command that makes the image of a service.
func buildLine(s plan.Want, noCache, pull bool) []string {
	line := []string{"docker", "build"}
	if s.System { // It has no network of its own for what steps get.
		line = []string{"system-docker", "build", "--network", "host"}
	}
	line = append(line, "--tag", s.Spec.Config.Image)
	if noCache {
		line = append(line, "--no-cache")
	}
	if pull {
		line = append(line, "--pull")
	}
	if s.Build.Target != "" {
		line = append(line, "--target", s.Build.Target)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Build.Args)) {
		line = append(line, "--build-arg", name+"="+s.Build.Args[name])
	}
	if s.Build.Dockerfile != "" {
		file := s.Build.Dockerfile
		if s.Build.Context.IsDir() { // As in Compose, the file is looked for there.
			file = filepath.Join(string(s.Build.Context), file)
		}
		line = append(line, "--file", file)
	}
	return append(line, string(s.Build.Context))
}

func runVisibly(ctx context.Context, args []string) error {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	return nil
}
