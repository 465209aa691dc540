package qemutest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Boot is what a machine needs to start a kernel directly.
type Boot struct {
	Kernel, Initrd string
	// Append is the command line of the ISO's first boot menu entry.
	Append string
}

// Paths on the ISO.
const (
	isoKernel = "/boot/vmlinuz"
	isoInitrd = "/boot/initrd"
	isoMenu   = "/boot/grub/grub.cfg"
)

// ExtractBoot takes the kernel, the initramfs and the kernel command line out
// of an ISO and puts the files into dir.
func ExtractBoot(ctx context.Context, iso, dir string) (Boot, error) {
	b := Boot{Kernel: filepath.Join(dir, "vmlinuz"), Initrd: filepath.Join(dir, "initrd")}
	menu := filepath.Join(dir, "grub.cfg")
	for _, file := range []string{b.Kernel, b.Initrd, menu} {
		if err := os.RemoveAll(file); err != nil {
			return b, err
		}
	}
	err := run(ctx, "xorriso", "-osirrox", "on", "-indev", iso,
		"-extract", isoKernel, b.Kernel, "-extract", isoInitrd, b.Initrd, "-extract", isoMenu, menu)
	if err != nil {
		return b, err
	}
	content, err := os.ReadFile(menu)
	if err != nil {
		return b, err
	}
	if b.Append, err = firstKernelLine(string(content)); err != nil {
		return b, fmt.Errorf("%s of %s: %w", isoMenu, iso, err)
	}
	return b, nil
}

var (
	linuxCommand = regexp.MustCompile(`(?m)^\s*linux(?:efi)?\s+\S+[ \t]*(.*)$`)
	setCommand   = regexp.MustCompile(`(?m)^\s*set (\w+)="?([^"\n]*)"?$`)
)

// firstKernelLine returns the kernel arguments of the first entry of a GRUB
// menu, with the menu's variables filled in.
func firstKernelLine(menu string) (string, error) {
	m := linuxCommand.FindStringSubmatch(menu)
	if m == nil {
		return "", errors.New("no linux command")
	}
	values := make(map[string]string)
	for _, set := range setCommand.FindAllStringSubmatch(menu, -1) {
		values[set[1]] = set[2]
	}
	line := os.Expand(m[1], func(name string) string { return values[name] })
	return strings.TrimSpace(line), nil
}
