package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/urfave/cli/v2"

	"github.com/bulkhead-os/bulkhead/images"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
	"github.com/bulkhead-os/bulkhead/os-config/conffile"
	"github.com/bulkhead-os/bulkhead/sysdocker/control"
	"github.com/bulkhead-os/bulkhead/sysdocker/plan"
	"github.com/bulkhead-os/bulkhead/sysdocker/preload"
)

// downloadLimit is how long to try to get a file of services.
const downloadLimit = 30 * time.Second

// includeKey is where the configuration says which files of services count.
const includeKey = "rancher.services_include."

func (p places) enableCommand() *cli.Command {
	return &cli.Command{
		Name: "enable", Usage: "run the services of a file, of an address or of the catalogue, from now on", ArgsUsage: "FILE|URL|NAME|ARCHIVE",
		Description: "The file has services in Compose's notation, the present one or version 1, which is RancherOS's. It is\n" +
			"checked, and kept under its own name without .yml, so that neither the file nor the network is needed again.\n" +
			"Say it again for a file that has changed. Names of the catalogue are in ros service list --all. An archive\n" +
			"has the image of one of those that are not on the medium: it is loaded, and the service of its name enabled.\n\n" +
			"Examples:\n   sudo ros service enable ./web.yml\n   sudo ros service enable https://example.org/web.yml\n" +
			"   sudo ros service enable node-exporter\n   sudo ros service enable ./qemu-guest-agent.tar.zst",
		BashComplete: func(c *cli.Context) {
			for _, name := range images.CatalogueNames() {
				fmt.Fprintln(c.App.Writer, name)
			}
		},
		Action: p.serviceEnable,
	}
}

func (p places) serviceEnable(c *cli.Context) error {
	if err := arguments(c, 1); err != nil {
		return err
	}
	if command := images.BuiltIn(c.Args().First()); command != "" {
		fmt.Fprintf(c.App.Writer, "%s is part of the OS: there is nothing to enable.\n", command)
		return nil
	}
	cfg, _, _, err := p.load()
	if err != nil {
		return err
	}
	key, text, err := p.serviceFile(c.Context, cfg, c.Args().First())
	if err != nil {
		return withSudo(err)
	}
	names, err := checkServices(c, cfg, key, text)
	if err != nil {
		return err
	}
	// The catalogue's are read from where they are: another version of the OS
	// may bring others.
	if shipped, err := catalogue(key); err != nil || string(shipped) != string(text) {
		if err := conffile.Write(filepath.Join(p.root, osconfig.StoredServices(key)), text); err != nil {
			return withSudo(fmt.Errorf("keep %s: %w", key, err))
		}
	}
	if err := p.include(c, key, "true"); err != nil {
		return err
	}
	fmt.Fprintf(c.App.Writer, "Enabled %s: %s.\n", key, strings.Join(names, ", "))
	return p.requestConfigured(c, control.Up, names)
}

// serviceFile returns the key that something to enable has in
// rancher.services_include, and the file's text.
func (p places) serviceFile(ctx context.Context, cfg osconfig.Config, source string) (key string, text []byte, err error) {
	if preload.IsArchive(source) && !osconfig.IsServiceURL(source) {
		image, err := p.provide(ctx, source)
		if err != nil {
			return "", nil, err
		}
		source = image.Labels[ocispec.AnnotationTitle]
	}
	name := strings.TrimSuffix(strings.TrimSuffix(path.Base(source), ".yml"), ".yaml")
	switch {
	case osconfig.IsServiceURL(source):
		ctx, cancel := context.WithTimeout(ctx, downloadLimit)
		defer cancel()
		progress("getting %s", source)
		text, err = p.download(ctx, source)
		name, _, _ = strings.Cut(name, "?")
		name = strings.TrimSuffix(name, ".yml")
	case name != source:
		text, err = osconfig.ReadFile(source)
	default:
		text, err = osconfig.ReadFile(filepath.Join(p.root, osconfig.StoredServices(name)))
		if errors.Is(err, fs.ErrNotExist) {
			text, err = catalogue(name)
			if err == nil && images.IsOptional(name) {
				err = p.hasImage(ctx, name)
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			text, err = p.catalogues().Find(name, cfg.Rancher.Repositories)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return "", nil, fmt.Errorf("there is no service %s in the catalogue, which has %s; a file needs .yml at its end; see also ros service refresh",
				name, strings.Join(images.CatalogueNames(), ", "))
		}
	}
	if err != nil {
		return "", nil, err
	}
	if strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" || name == "" {
		return "", nil, fmt.Errorf("%q is no name for a service: use letters, digits, - and _ in the name of its file", name)
	}
	return name, text, nil
}

// checkServices returns the names of the services in a file. With a mistake in
// it there are none, and each is reported.
func checkServices(c *cli.Context, cfg osconfig.Config, source string, text []byte) ([]string, error) {
	services, problems := osconfig.ParseServices(source, text)
	_, mistakes := plan.Configure(services, cfg.Rancher.Environment, os.ReadFile)
	for _, m := range mistakes {
		m.Source, m.Key = source, strings.TrimPrefix(m.Key, "rancher.services.")
		problems = append(problems, m)
	}
	names := slices.Sorted(maps.Keys(services))
	for _, name := range names {
		if _, taken := cfg.Rancher.Services[name]; taken {
			problems = append(problems, osconfig.Problem{Source: source, Key: name, Text: "rancher.services has one of this name"})
		}
	}
	for _, problem := range problems {
		fmt.Fprintln(c.App.ErrWriter, problem)
	}
	if osconfig.AnyError(problems) {
		return nil, errors.New("nothing is enabled: mend the file first")
	}
	return names, nil
}

// include sets a key of rancher.services_include, or takes it away if the value
// is empty.
func (p places) include(c *cli.Context, key, value string) error {
	return p.edit(c, func(old []byte) ([]byte, error) {
		if value == "" {
			return osconfig.Delete(old, includeKey+key)
		}
		return osconfig.Set(old, includeKey+key, value)
	})
}

// included returns the services of a key of rancher.services_include, whether
// it is on or off.
func (p places) included(key string) (names []string, cfg osconfig.Config, err error) {
	cfg, _, _, err = p.load()
	if err != nil {
		return nil, cfg, err
	}
	if _, is := cfg.Rancher.ServicesInclude[key]; !is {
		return nil, cfg, fmt.Errorf("%s is not enabled; enabled are: %s", key, strings.Join(slices.Sorted(maps.Keys(cfg.Rancher.ServicesInclude)), ", "))
	}
	for name, from := range cfg.Rancher.Select(p.root, catalogue).From {
		if from == key {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, cfg, nil
}

func (p places) disableCommand() *cli.Command {
	return &cli.Command{
		Name: "disable", Usage: "stop the services of something that is enabled, from now on", ArgsUsage: "NAME",
		Description:  "Containers and file stay: see ros service delete.\n\nExamples:\n   sudo ros service disable web",
		BashComplete: p.completeIncluded,
		Action: func(c *cli.Context) error {
			if err := arguments(c, 1); err != nil {
				return err
			}
			key := c.Args().First()
			if _, _, err := p.included(key); err != nil {
				return err
			}
			if err := p.include(c, key, "false"); err != nil {
				return err
			}
			names, _, err := p.included(key)
			if err != nil {
				return err
			}
			return p.requestConfigured(c, control.Up, names)
		},
	}
}

func (p places) deleteCommand() *cli.Command {
	return &cli.Command{
		Name: "delete", Usage: "remove the services of something that was enabled, and its file", ArgsUsage: "NAME",
		Description:  "Volumes with a name stay.\n\nExamples:\n   sudo ros service delete web",
		BashComplete: p.completeIncluded,
		Action: func(c *cli.Context) error {
			if err := arguments(c, 1); err != nil {
				return err
			}
			key := c.Args().First()
			names, _, err := p.included(key)
			if err != nil {
				return err
			}
			if len(names) > 0 {
				if err := p.requestConfigured(c, control.Remove, names); err != nil {
					return err
				}
			}
			if err := p.include(c, key, ""); err != nil {
				return err
			}
			// What user data switches on has to be switched off.
			if _, _, err := p.included(key); err == nil {
				if err := p.include(c, key, "false"); err != nil {
					return err
				}
			}
			if strings.HasPrefix(key, "/") { // It is not ours.
				return nil
			}
			err = os.Remove(filepath.Join(p.root, osconfig.StoredServices(key)))
			if errors.Is(err, fs.ErrNotExist) { // It is the catalogue's.
				return nil
			}
			return err
		},
	}
}

// completeIncluded offers the keys of rancher.services_include.
func (p places) completeIncluded(c *cli.Context) {
	completeNames(c, p, func(r osconfig.Rancher) map[string]bool { return r.ServicesInclude })
}

// completeNames offers the keys of a part of the configuration.
func completeNames[V any](c *cli.Context, p places, part func(osconfig.Rancher) map[string]V) {
	if cfg, _, _, err := p.load(); err == nil {
		for _, key := range slices.Sorted(maps.Keys(part(cfg.Rancher))) {
			fmt.Fprintln(c.App.Writer, key)
		}
	}
}
