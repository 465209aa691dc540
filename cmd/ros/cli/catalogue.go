package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/bulkhead-os/bulkhead/cmd/ros/catalogues"
	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/version"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

// catalogue is what this version of the OS ships.
func catalogue(name string) ([]byte, error) { return images.Catalogue(name, version.Version) }

// catalogues are those of rancher.repositories.
func (p places) catalogues() catalogues.Store {
	return catalogues.Store(filepath.Join(p.root, layout.CataloguesDir))
}

func (p places) refreshCommand() *cli.Command {
	return &cli.Command{
		Name: "refresh", Usage: "download the catalogues of rancher.repositories", ArgsUsage: "[REPOSITORY...]",
		Description: "A catalogue is taken if it is signed with the public_key of its repository, pins its images by digest and is\n" +
			"not older than the one that is here. What it has is in ros service list --all then, also without a network.\n\n" +
			"Examples:\n   sudo ros service refresh\n   sudo ros service refresh core",
		BashComplete: func(c *cli.Context) {
			completeNames(c, p, func(r osconfig.Rancher) map[string]osconfig.Repository { return r.Repositories })
		},
		Action: p.serviceRefresh,
	}
}

func (p places) serviceRefresh(c *cli.Context) error {
	cfg, _, _, err := p.load()
	if err != nil {
		return err
	}
	names := c.Args().Slice()
	if len(names) == 0 {
		names = slices.Sorted(maps.Keys(cfg.Rancher.Repositories))
	}
	if len(names) == 0 {
		return errors.New("rancher.repositories names no catalogue")
	}
	ctx, cancel := context.WithTimeout(c.Context, downloadLimit)
	defer cancel()
	var errs []error
	for _, name := range names {
		progress("getting catalogue %s", name)
		got, err := p.catalogues().Refresh(ctx, name, cfg.Rancher.Repositories[name], p.download)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		fmt.Fprintf(c.App.Writer, "Catalogue %s: serial %d, %d entries.\n", name, got.Serial, len(got.Entries))
	}
	return withSudo(errors.Join(errs...))
}

// hasImage says what to do if the image of an optional service is missing, or
// shares layers with another build of the OS than this one.
func (p places) hasImage(ctx context.Context, name string) error {
	daemon, err := p.connect(p.systemSocket)
	if err != nil {
		return err
	}
	defer daemon.Close()
	image, err := daemon.Image(ctx, images.Ref(name, version.Version))
	if dockerapi.IsNotFound(err) {
		return fmt.Errorf("the image of %[1]s is not on the medium: sudo ros service enable %[1]s.tar.zst loads it (./build.sh -services makes that archive)", name)
	}
	if err != nil {
		return err
	}
	index, err := images.ReadIndex(p.imageIndex)
	if err != nil {
		return err
	}
	for _, layer := range image.DiffIDs[:max(0, len(image.DiffIDs)-1)] {
		if !slices.ContainsFunc(index.Images, func(e images.IndexEntry) bool { return slices.Contains(e.DiffIDs, layer) }) {
			return fmt.Errorf("the image of %[1]s was made with another build of the OS, whose layers are not here: take the %[1]s.tar.zst that was made with this one", name)
		}
	}
	return nil
}

// switchable adds what can be enabled to a list of services, and says what has
// been disabled.
func (p places) switchable(services []service) []service {
	cfg, _, _, err := p.load()
	if err != nil {
		return services // They were asked for, too.
	}
	off := cfg.Rancher.Select(p.root, catalogue).Off
	for i, s := range services {
		if s.Configured && off[s.entry] {
			services[i].State, services[i].Health = disabled, "none"
			delete(off, s.entry)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(off)) {
		services = append(services, withoutContainer(name, disabled))
	}
	for _, name := range images.CatalogueNames() {
		if _, known := cfg.Rancher.ServicesInclude[name]; !known {
			s := withoutContainer(name, available)
			s.Status = "ros service enable " + name
			if images.IsOptional(name) {
				s.Status = fmt.Sprintf("not on the medium: ros service enable %s.tar.zst", name)
			}
			services = append(services, s)
		}
	}
	for _, repository := range slices.Sorted(maps.Keys(cfg.Rancher.Repositories)) {
		// Its problems are reported by the command that uses it.
		has, _ := p.catalogues().Get(repository, cfg.Rancher.Repositories[repository])
		for _, name := range slices.Sorted(maps.Keys(has.Entries)) {
			if _, known := cfg.Rancher.ServicesInclude[name]; known || slices.ContainsFunc(services, func(s service) bool { return s.Name == name }) {
				continue
			}
			s := withoutContainer(name, available)
			s.Status = fmt.Sprintf("%s, from %s: ros service enable %s", has.Entries[name].Description, repository, name)
			services = append(services, s)
		}
	}
	return services
}
