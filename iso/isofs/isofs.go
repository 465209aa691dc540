// Package isofs writes the bootable medium: an ISO 9660 image that BIOS and
// UEFI boot from a CD and, copied as it is, from a disk.
package isofs

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"text/template"
	"time"

	"github.com/bulkhead-os/bulkhead/iso/loader"
	"github.com/bulkhead-os/bulkhead/iso/tools"
)

//go:embed boot
var boot embed.FS

// Label is the volume's; /init and GRUB find the medium by it.
const Label = "BULKHEAD"

// modules of the boot loader for BIOS: what finds the medium, shows the menu and
// starts the kernel, and no more.
var modules = []string{
	"biosdisk", "at_keyboard",
	"iso9660", "part_gpt", "part_msdos", "fat", "search", "search_label", "search_fs_file",
	"normal", "configfile", "linux", "test", "echo", "serial", "terminal", "reboot", "halt", "ls", "cat", "minicmd",
}

// A Medium is what goes onto the ISO. Paths are on the build machine.
type Medium struct {
	Version string
	// Files are those of the release, by their paths on the medium.
	Files map[string]string
	// Epoch is the time stamp of the volume, in seconds.
	Epoch int64
}

// Write makes the ISO at file, with dir for what is only needed meanwhile.
func Write(ctx context.Context, m Medium, ts *tools.Tools, dir, file string) error {
	b := builder{ts: ts, dir: dir}
	stage := filepath.Join(dir, "iso")
	if err := os.RemoveAll(stage); err != nil {
		return err
	}
	for _, d := range []string{"boot/grub", "bulkhead", ".disk"} {
		if err := os.MkdirAll(filepath.Join(stage, d), 0o755); err != nil {
			return err
		}
	}
	for dst, src := range m.Files {
		if err := linkOrCopy(src, filepath.Join(stage, dst)); err != nil {
			return err
		}
	}
	// By this file Debian's signed GRUB finds the medium.
	if err := os.WriteFile(filepath.Join(stage, ".disk/info"), []byte("Bulkhead "+m.Version+"\n"), 0o644); err != nil {
		return err
	}
	menu, err := Menu(m.Version)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(stage, "boot/grub/grub.cfg"), menu, 0o644); err != nil {
		return err
	}
	if err := b.biosLoader(ctx, filepath.Join(stage, "boot/grub/eltorito.img")); err != nil {
		return err
	}
	esp := filepath.Join(dir, "esp.img")
	if err := b.efiPartition(ctx, esp, m.Epoch); err != nil {
		return err
	}
	return b.xorriso(ctx, m.Epoch, stage, esp, file)
}

// Menu is the boot menu.
func Menu(version string) ([]byte, error) {
	t, err := template.ParseFS(boot, "boot/grub.cfg")
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	err = t.Execute(&buf, struct{ Version, KernelLine string }{version, loader.KernelLine})
	return buf.Bytes(), err
}

type builder struct {
	ts  *tools.Tools
	dir string
}

func (b builder) biosLoader(ctx context.Context, file string) error {
	early, err := boot.ReadFile("boot/early.cfg")
	if err != nil {
		return err
	}
	config := filepath.Join(b.dir, "early.cfg")
	if err := os.WriteFile(config, early, 0o644); err != nil {
		return err
	}
	args := []string{
		"-O", "i386-pc-eltorito", "-d", b.ts.File("usr/lib/grub/i386-pc"), "-p", "/boot/grub", "-c", config, "-o", file,
	}
	return b.ts.Run(ctx, "grub-mkimage", append(args, modules...)...)
}

// efiPartition makes the FAT image with the signed chain of UEFI.
func (b builder) efiPartition(ctx context.Context, esp string, epoch int64) error {
	if err := os.RemoveAll(esp); err != nil {
		return err
	}
	dir := filepath.Join(b.dir, "efi")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var total int64
	var files []string
	signed := loader.Signed(b.ts)
	for _, name := range slices.Sorted(maps.Keys(signed)) {
		raw, err := os.ReadFile(signed[name])
		if err != nil {
			return err
		}
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, raw, 0o644); err != nil {
			return err
		}
		// mcopy -m takes the time from the file.
		t := time.Unix(epoch, 0)
		if err := os.Chtimes(file, t, t); err != nil {
			return err
		}
		total += int64(len(raw))
		files = append(files, file)
	}
	// The files, FAT12's own structures, rounded up to whole 64 KiB.
	kib := (total/1024 + 64 + 63) / 64 * 64
	if err := b.ts.Run(ctx, "mkfs.vfat", "--invariant", "-n", "BULKHEADEFI", "-C", esp, strconv.FormatInt(kib, 10)); err != nil {
		return err
	}
	if err := b.ts.Run(ctx, "mmd", "-i", esp, "::EFI", "::EFI/BOOT"); err != nil {
		return err
	}
	return b.ts.Run(ctx, "mcopy", append(append([]string{"-m", "-i", esp}, files...), "::EFI/BOOT/")...)
}

// xorriso puts the volume together. The ESP is appended after the ISO file
// system as a GPT partition, and El Torito's UEFI entry points at it, so that
// it is there only once.
func (b builder) xorriso(ctx context.Context, epoch int64, stage, esp, file string) error {
	if err := os.RemoveAll(file); err != nil {
		return err
	}
	const (
		efiSystem = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
		basicData = "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7"
	)
	date := time.Unix(epoch, 0).UTC().Format("2006010215040500")
	return b.ts.Run(ctx, "xorriso", "-as", "mkisofs", "-quiet",
		"-volid", Label, "-rational-rock", "-iso-level", "3", "-uid", "0", "-gid", "0",
		"--modification-date="+date, "--set_all_file_dates", date,
		"-eltorito-boot", "boot/grub/eltorito.img", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table",
		"--grub2-boot-info", "--grub2-mbr", b.ts.File("usr/lib/grub/i386-pc/boot_hybrid.img"),
		"-partition_offset", "16", "-append_partition", "2", efiSystem, esp, "-appended_part_as_gpt",
		"-iso_mbr_part_type", basicData,
		"-eltorito-alt-boot", "-e", "--interval:appended_partition_2:all::", "-no-emul-boot",
		"-o", file, stage)
}

// linkOrCopy avoids copying large files within one file system.
func linkOrCopy(src, dst string) error {
	if err := os.Link(src, dst); err == nil {
		return nil
	}
	raw, err := os.ReadFile(src)
	if err != nil {
		return err
	}
	if err := os.WriteFile(dst, raw, 0o644); err != nil {
		return fmt.Errorf("copy %s: %w", src, err)
	}
	return nil
}
