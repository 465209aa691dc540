// Package osconfig is the configuration of a machine: its types, its defaults,
// and how it is read and merged from the places it may be written in. Nothing
// in it changes the machine or talks to anything but files.
package osconfig

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/os-config/cmdline"
)

// kernelLine is the Source of problems in kernel parameters.
const kernelLine = "kernel command line"

// Load merges everything that configures the machine, later over earlier:
//
//  1. Defaults
//  2. cloud-config.d/*.yml in alphabetical order (boot.yml is the user data)
//  3. cloud-config.yml
//  4. the kernel command line
//  5. Metadata: the host name if there is none yet, SSH keys in addition
//
// Maps are merged, everything else is replaced. What is wrong is left out and
// told as problems. An error means that a file could not be read; the
// configuration of the others is returned with it.
//
// root is "" on the running system.
func Load(root, kernelCommandLine string) (Config, []Problem, error) {
	cfg := Defaults()
	var problems []Problem
	var errs []error

	files, err := configFiles(root)
	errs = append(errs, err)
	for _, file := range files {
		text, err := readFile(filepath.Join(root, file))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
			continue
		}
		problems = append(problems, cfg.Merge(file, text)...)
	}
	problems = append(problems, cfg.mergeKernelLine(kernelCommandLine)...)

	meta, found, err := ReadMetadata(filepath.Join(root, layout.Metadata))
	errs = append(errs, err)
	problems = append(problems, found...)
	cfg.mergeMetadata(meta)
	return cfg, problems, errors.Join(errs...)
}

// configFiles lists the configuration files in the order in which they count.
func configFiles(root string) ([]string, error) {
	dir := filepath.Join(root, layout.CloudConfigDir)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	var files []string
	for _, e := range entries { // sorted by name
		if name := e.Name(); strings.HasSuffix(name, ".yml") && !strings.HasPrefix(name, ".") && !e.IsDir() {
			files = append(files, filepath.Join(layout.CloudConfigDir, name))
		}
	}
	return append(files, layout.CloudConfig), err
}

// readFile reads a file that is not absurdly large.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > MaxContent {
		return nil, fmt.Errorf("read %s: want a regular file of at most %d MiB", path, MaxContent>>20)
	}
	return os.ReadFile(path)
}

// Merge adds one cloud-config to c. The source is what problems name.
func (c *Config) Merge(source string, text []byte) []Problem {
	d := decoder{source: source}
	if root := d.parse(text); root != nil {
		d.decode(root, reflect.ValueOf(c).Elem(), "")
	}
	return d.problems
}

// FromKernelLine returns what the kernel command line alone says, for what must
// be known before the other sources can be read.
func FromKernelLine(line string) Config {
	cfg := Defaults()
	cfg.mergeKernelLine(line)
	return cfg
}

// mergeKernelLine adds the parameters that start with "rancher." or "cc.".
func (c *Config) mergeKernelLine(line string) []Problem {
	d := decoder{source: kernelLine}
	params := cmdline.Parse(line)
	for _, s := range params.Settings() {
		d.set(reflect.ValueOf(c).Elem(), s.Path, "", unquote(s.Raw))
	}
	// The one parameter that adds up when it is repeated.
	if ttys := params.All("rancher.autologin"); len(ttys) > 1 {
		c.Rancher.Autologin = ttys
	}
	return d.problems
}

// unquote removes one pair of quotes around a value. They are the kernel
// line's, for blanks, not YAML's: "[a, b]" is a list.
func unquote(s string) string {
	if n := len(s); n > 1 && s[0] == s[n-1] && (s[0] == '"' || s[0] == '\'') {
		return s[1 : n-1]
	}
	return s
}

// mergeMetadata adds what the platform says about the machine.
func (c *Config) mergeMetadata(m Metadata) {
	if c.Hostname == "" {
		c.Hostname = m.Hostname
	}
	for _, key := range m.PublicKeys {
		if !slices.Contains(c.SSHAuthorizedKeys, key) {
			c.SSHAuthorizedKeys = append(c.SSHAuthorizedKeys, key)
		}
	}
}
