package osconfig

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/bulkhead-os/bulkhead/internal/layout"
)

// Load merges everything that configures the machine, later over earlier:
//
//  1. Defaults
//  2. the maker's oem-config.yml
//  3. cloud-config.d/*.yml in alphabetical order (boot.yml is the user data)
//  4. cloud-config.yml
//  5. the kernel command line
//  6. rancher.environment.EXTRA_CMDLINE, parameters of the same form
//  7. what rancher.debug includes
//  8. Metadata: the host name if there is none yet, SSH keys in addition
//
// Maps are merged, everything else is replaced. What is wrong is left out and
// told as problems. A file that cannot be used as a whole is replaced by the
// copy that package conffile made of it. An error means that a file could not be
// read and has no copy; the configuration of the others is returned with it.
//
// root is "" on the running system.
func Load(root, kernelCommandLine string) (Config, []Problem, error) {
	var d decoder
	cfg, err := d.load(root, kernelCommandLine)
	return cfg, d.problems, err
}

// LoadRunning is Load for the running system. Without its kernel command line,
// the configuration of the files is returned with the error.
func LoadRunning() (Config, []Problem, error) {
	line, lineErr := os.ReadFile("/proc/cmdline")
	cfg, problems, err := Load("", string(line))
	return cfg, problems, errors.Join(lineErr, err)
}

// LoadWithOrigins is Load that also tells where each value was set.
func LoadWithOrigins(root, kernelCommandLine string) (Config, Origins, []Problem, error) {
	d := decoder{origins: make(Origins)}
	cfg, err := d.load(root, kernelCommandLine)
	return cfg, d.origins, d.problems, err
}

func (d *decoder) load(root, kernelCommandLine string) (Config, error) {
	cfg := Defaults()
	files, err := Files(root)
	errs := []error{err}
	for _, file := range files {
		errs = append(errs, d.mergeFile(&cfg, root, file))
	}
	d.from(kernelLine)
	d.mergeParameters(&cfg, kernelCommandLine)
	if extra := cfg.Rancher.Environment["EXTRA_CMDLINE"]; extra != "" {
		d.from("EXTRA_CMDLINE")
		d.mergeParameters(&cfg, extra)
	}
	if cfg.Rancher.Debug {
		cfg.Rancher.Docker.Debug = true
	}
	d.from("configuration")
	for _, name := range slices.Sorted(maps.Keys(cfg.Rancher.Services)) {
		if cfg.Rancher.Services[name].Image == "" {
			d.problem(nil, "rancher.services."+name, "no source names an image for it")
		}
	}
	meta, found, err := ReadMetadata(filepath.Join(root, layout.Metadata))
	d.problems = append(d.problems, found...)
	d.from(layout.Metadata)
	d.mergeMetadata(&cfg, meta)
	return cfg, errors.Join(append(errs, err)...)
}

// Files lists the configuration files in the order in which they count.
func Files(root string) ([]string, error) {
	files := []string{layout.OEMConfig}
	dir := filepath.Join(root, layout.CloudConfigDir)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	for _, e := range entries { // sorted by name
		if name := e.Name(); strings.HasSuffix(name, ".yml") && !strings.HasPrefix(name, ".") && !e.IsDir() {
			files = append(files, filepath.Join(layout.CloudConfigDir, name))
		}
	}
	return append(files, layout.CloudConfig), err
}

// mergeFile adds a file, or its last good copy.
func (d *decoder) mergeFile(cfg *Config, root, file string) error {
	text, err := ReadFile(filepath.Join(root, file))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err == nil:
		d.from(file)
		if d.mergeText(cfg, text) {
			return nil
		}
	}
	good, goodErr := ReadFile(filepath.Join(root, GoodCopy(file)))
	if goodErr != nil {
		return err // there is no copy; a syntax error has been reported
	}
	if err != nil {
		d.problem(nil, "", "cannot be read, file ignored: %v", err)
	}
	d.problem(nil, "", "until that is mended, its last good copy applies: %s", GoodCopy(file))
	d.from(GoodCopy(file))
	d.mergeText(cfg, good)
	return nil
}

// GoodCopy returns where the last good copy of a configuration file lies.
func GoodCopy(file string) string {
	return filepath.Join(layout.LastGoodDir, strings.ReplaceAll(strings.TrimPrefix(file, "/"), "/", "_"))
}

// Usable reports whether a text is a cloud-config as a whole, mistakes or not.
func Usable(text []byte) bool {
	_, ok := new(decoder).parse(text)
	return ok
}

// ReadFile reads a file of the configuration, which is not absurdly large.
func ReadFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > MaxContent {
		return nil, fmt.Errorf("read %s: expected a regular file of at most %d MiB", path, MaxContent>>20)
	}
	return os.ReadFile(path)
}

// Merge adds one cloud-config to c. The source is what problems name.
func (c *Config) Merge(source string, text []byte) []Problem {
	d := decoder{source: source}
	d.mergeText(c, text)
	return d.problems
}

// mergeText adds one cloud-config and reports whether it could be used.
func (d *decoder) mergeText(c *Config, text []byte) bool {
	root, ok := d.parse(text)
	if root != nil {
		d.decode(root, reflect.ValueOf(c).Elem(), "")
	}
	return ok
}

// mergeMetadata adds what the platform says about the machine.
func (d *decoder) mergeMetadata(c *Config, m Metadata) {
	if c.Hostname == "" && m.Hostname != "" {
		c.Hostname = m.Hostname
		d.arrived(nil, "hostname")
	}
	if c.Rancher.ResizeDevice == "" && m.RootDisk != "" {
		c.Rancher.ResizeDevice = m.RootDisk
		d.arrived(nil, "rancher.resize_device")
	}
	for _, text := range m.PublicKeys {
		key, err := ParseAuthorizedKey(text)
		if err != nil {
			d.problem(nil, "public_keys", "%v", err)
			continue
		}
		if !slices.Contains(c.SSHAuthorizedKeys, key) {
			c.SSHAuthorizedKeys = append(c.SSHAuthorizedKeys, key)
			if _, own := d.origins["ssh_authorized_keys"]; !own {
				d.arrived(nil, "ssh_authorized_keys")
			}
		}
	}
}
