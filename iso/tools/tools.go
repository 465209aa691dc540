// Package tools runs the build's helper programs (mkfs.erofs, xorriso, …) out
// of unpacked Debian packages. Their C library is newer than the build
// machine's may be, so they are started through their own dynamic loader.
package tools

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/bulkhead-os/bulkhead/iso/command"
	"github.com/bulkhead-os/bulkhead/iso/debian"
)

//go:embed packages.list
var packagesList string

// Packages are the packages to resolve for New.
func Packages() []string {
	var names []string
	for line := range strings.Lines(packagesList) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			names = append(names, line)
		}
	}
	return names
}

// Tools is a tree of unpacked packages.
type Tools struct {
	root string
	env  []string
}

// New unpacks the packages below dir, once. Programs run with env added.
func New(ctx context.Context, dir string, archive *debian.Archive, pkgs []debian.Package, env []string) (*Tools, error) {
	h := sha256.New()
	for _, p := range pkgs {
		fmt.Fprintln(h, p.SHA256)
	}
	root := filepath.Join(dir, hex.EncodeToString(h.Sum(nil))[:32])
	t := &Tools{root: root, env: env}
	if _, err := os.Stat(root); err == nil {
		return t, nil
	}
	part := root + ".part"
	if err := os.RemoveAll(part); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(part, 0o755); err != nil {
		return nil, err
	}
	for _, p := range pkgs {
		if err := debian.Extract(ctx, archive.Path(p), part); err != nil {
			return nil, err
		}
	}
	return t, os.Rename(part, root)
}

// File is the place of a file of the packages, given by its path without a
// leading slash.
func (t *Tools) File(name string) string { return filepath.Join(t.root, name) }

// Command prepares a program of the packages, looked up by its name.
func (t *Tools) Command(ctx context.Context, name string, args ...string) (*exec.Cmd, error) {
	for _, dir := range []string{"usr/bin", "usr/sbin"} {
		// Links such as mcopy → mtools are resolved inside the tree; the
		// program still sees the name that it was called by.
		file := t.File(filepath.Join(dir, name))
		if _, err := os.Stat(file); err != nil {
			continue
		}
		lib := t.File("usr/lib/x86_64-linux-gnu")
		loader := append([]string{"--argv0", name, "--library-path", lib, file}, args...)
		cmd := exec.CommandContext(ctx, filepath.Join(lib, "ld-linux-x86-64.so.2"), loader...)
		cmd.Env = append(os.Environ(), "LC_ALL=C", "GCONV_PATH="+filepath.Join(lib, "gconv"))
		cmd.Env = append(cmd.Env, t.env...)
		return cmd, nil
	}
	return nil, fmt.Errorf("%s: no such program in the build's packages", name)
}

// Run runs a program of the packages.
func (t *Tools) Run(ctx context.Context, name string, args ...string) error {
	cmd, err := t.Command(ctx, name, args...)
	if err != nil {
		return err
	}
	return command.Run(cmd)
}
