// Package tools runs helper programs (mkfs.erofs, xorriso, QEMU, …) out of
// unpacked Debian packages. Their C library is newer than the build machine's
// may be, so they are started through their own dynamic loader.
package tools

import (
	"context"
	"crypto/sha256"
	"debug/elf"
	_ "embed"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bulkhead-os/bulkhead/iso/command"
	"github.com/bulkhead-os/bulkhead/iso/debian"
)

var (
	//go:embed build.list
	buildList string
	//go:embed machine.list
	machineList string
)

// Build are the names of the packages that the build runs.
func Build() []string { return debian.Lines(buildList) }

// Machine are the names of the packages that start virtual machines.
func Machine() []string { return debian.Lines(machineList) }

// Tools is a tree of unpacked packages.
type Tools struct {
	root string
	env  []string
}

// New unpacks the packages below dir, once. Programs run with env added.
func New(ctx context.Context, dir string, archive *debian.Archive, pkgs []debian.Package, env []string) (*Tools, error) {
	h := sha256.New()
	h.Write([]byte(wrapper))
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
	if err := t.wrap(part); err != nil {
		return nil, err
	}
	return t, os.Rename(part, root)
}

// Folders of the tree.
const (
	commandsDir = "usr/commands"
	libDir      = "usr/lib/x86_64-linux-gnu"
	loader      = libDir + "/ld-linux-x86-64.so.2"
)

// programDirs are where packages have their programs.
var programDirs = []string{"usr/bin", "usr/sbin"}

// wrapper is a command of Commands: name, root of the tree, program below it,
// first arguments.
const wrapper = `#!/bin/sh
# %[1]s of a Debian release, started with that release's own libraries.
export QEMU_MODULE_DIR='%[2]s/` + libDir + `/qemu' GCONV_PATH='%[2]s/` + libDir + `/gconv'
exec '%[2]s/` + loader + `' --argv0 '%[1]s' --library-path '%[2]s/` + libDir + `' '%[2]s/%[3]s'%[4]s "$@"
`

// Commands is a folder for PATH: it has a command for each program of the
// packages that needs their libraries. <folder>/../share is that of the packages.
func (t *Tools) Commands() string { return t.File(commandsDir) }

// wrap writes the commands into a tree that lies in part and will be t's.
func (t *Tools) wrap(part string) error {
	if err := os.MkdirAll(filepath.Join(part, commandsDir), 0o755); err != nil {
		return err
	}
	for _, dir := range programDirs {
		entries, err := os.ReadDir(filepath.Join(part, dir))
		if err != nil && !os.IsNotExist(err) {
			return err
		}
		for _, e := range entries {
			file := filepath.Join(dir, e.Name())
			if !dynamic(filepath.Join(part, file)) {
				continue
			}
			text := fmt.Sprintf(wrapper, e.Name(), t.root, file, t.firstArguments(e.Name()))
			if err := os.WriteFile(filepath.Join(part, commandsDir, e.Name()), []byte(text), 0o755); err != nil {
				return err
			}
		}
	}
	return nil
}

// firstArguments tell QEMU where its firmware is: it would look beside the
// loader that runs it.
func (t *Tools) firstArguments(program string) string {
	if !strings.HasPrefix(program, "qemu-system-") {
		return ""
	}
	var b strings.Builder
	for _, dir := range []string{"usr/share/qemu", "usr/share/seabios"} {
		fmt.Fprintf(&b, " -L '%s'", t.File(dir))
	}
	return b.String()
}

// dynamic reports whether a file is a program that a dynamic loader starts.
func dynamic(file string) bool {
	f, err := elf.Open(file)
	if err != nil {
		return false
	}
	defer f.Close()
	return slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP })
}

// File is the place of a file of the packages, given by its path without a
// leading slash.
func (t *Tools) File(name string) string { return filepath.Join(t.root, name) }

// Command prepares a program of the packages, looked up by its name.
func (t *Tools) Command(ctx context.Context, name string, args ...string) (*exec.Cmd, error) {
	file := filepath.Join(t.Commands(), name)
	if _, err := os.Stat(file); err != nil {
		return nil, fmt.Errorf("%s: no such program in the packages", name)
	}
	cmd := exec.CommandContext(ctx, file, args...)
	cmd.Env = append(append(os.Environ(), "LC_ALL=C"), t.env...)
	return cmd, nil
}

// Run runs a program of the packages.
func (t *Tools) Run(ctx context.Context, name string, args ...string) error {
	cmd, err := t.Command(ctx, name, args...)
	if err != nil {
		return err
	}
	return command.Run(cmd)
}
