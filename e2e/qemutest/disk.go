package qemutest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// run runs a host tool and puts what it said into the error.
func run(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// MakeDisk makes an empty, sparse raw disk image.
func MakeDisk(path string, megabytes int64) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if err := f.Truncate(megabytes << 20); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// CopyDisk makes a sparse copy of a disk image.
func CopyDisk(ctx context.Context, path, from string) error {
	return run(ctx, "cp", "--sparse=always", from, path)
}

// MakeExt4 makes a sparse raw disk image with an ext4 file system of files, by
// path, over the whole of it.
func MakeExt4(ctx context.Context, path, label string, megabytes int64, files map[string]string) error {
	return withTree(files, func(tree string) error {
		if err := MakeDisk(path, megabytes); err != nil {
			return err
		}
		args := []string{"-q", "-F", "-L", label}
		if len(files) > 0 {
			args = append(args, "-d", tree)
		}
		return run(ctx, "mkfs.ext4", append(args, path)...)
	})
}

// Ext4Clean returns nil when the ext4 file system in a disk image was
// unmounted: its state is clean and its journal needs no replay.
func Ext4Clean(ctx context.Context, path string) error {
	out, err := exec.CommandContext(ctx, "dumpe2fs", "-h", path).Output()
	if err != nil {
		return fmt.Errorf("dumpe2fs %s: %w", path, err)
	}
	return ext4Clean(string(out))
}

// ext4Clean judges the output of dumpe2fs -h.
func ext4Clean(header string) error {
	state := ""
	for line := range strings.Lines(header) {
		key, value, _ := strings.Cut(line, ":")
		switch value = strings.TrimSpace(value); key {
		case "Filesystem state":
			state = value
		case "Filesystem features":
			if strings.Contains(value, "needs_recovery") {
				return fmt.Errorf("file system was not unmounted: its journal needs recovery")
			}
		}
	}
	if state != "clean" {
		return fmt.Errorf("file system state is %q, not clean", state)
	}
	return nil
}

// Overlay makes a qcow2 image that keeps the changes to base, which stays as
// it is.
func Overlay(ctx context.Context, path, base, baseFormat string) error {
	return run(ctx, "qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", baseFormat, path)
}
