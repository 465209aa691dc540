// Package loader makes the boot loader of installed disks, for BIOS and UEFI:
// files that the installer writes as they are. What the medium itself boots
// with is isofs's.
package loader

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/bulkhead-os/bulkhead/internal/bootstate"
	"github.com/bulkhead-os/bulkhead/internal/disklayout"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/iso/tools"
)

//go:embed boot
var boot embed.FS

// KernelLine is what every system is started with. The last console= is
// /dev/console. With gpt the kernel takes the backup of a damaged partition
// table.
const KernelLine = "console=tty0 console=ttyS0,115200 panic=10 cryptomgr.notests printk.devkmsg=on gpt quiet"

// modules are those of core.img: what finds the slots, reads and writes the
// boot state, shows the menu and starts the kernel.
var modules = []string{
	"biosdisk", "part_gpt", "fat", "ext2", "normal", "configfile", "linux", "test", "regexp", "loadenv", "probe",
	"echo", "serial", "terminal", "reboot", "halt", "ls", "cat", "minicmd", "sleep", "at_keyboard",
}

// Signed are the parts of UEFI's chain, by the file that they become: shim,
// which firmware trusts, the GRUB that shim trusts, and shim's manager of keys.
func Signed(ts *tools.Tools) map[string]string {
	return map[string]string{
		"BOOTX64.EFI": ts.File("usr/lib/shim/shimx64.efi.signed"),
		"grubx64.efi": ts.File("usr/lib/grub/x86_64-efi-signed/gcdx64.efi.signed"),
		"mmx64.efi":   ts.File("usr/lib/shim/mmx64.efi.signed"),
	}
}

// Make makes the files in dir and returns them by the name that they have in
// the root image's layout.LoaderDir.
func Make(ctx context.Context, ts *tools.Tools, dir string) (map[string]string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	files := Signed(ts)
	files[layout.LoaderBootSector] = ts.File("usr/lib/grub/i386-pc/boot.img")
	made := func(name string) string {
		files[name] = filepath.Join(dir, name)
		return files[name]
	}
	menu, err := boot.ReadFile("boot/grub.cfg")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(made(layout.LoaderMenu), menu, 0o644); err != nil {
		return nil, err
	}
	if err := core(ctx, ts, made(layout.LoaderCore)); err != nil {
		return nil, err
	}
	return files, stateImage(ctx, ts, made(layout.LoaderBootState))
}

// SlotConfig is the slot.cfg of a version.
func SlotConfig(version string) ([]byte, error) {
	t, err := template.ParseFS(boot, "boot/slot.cfg")
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	err = t.Execute(&buf, struct{ Version, KernelLine string }{version, KernelLine})
	return buf.Bytes(), err
}

// maxCore is the room for a core.img: the partition has two of them.
const maxCore = disklayout.MiB / 2

func core(ctx context.Context, ts *tools.Tools, file string) error {
	prefix := "(,gpt2)/boot/grub"
	args := append([]string{"-O", "i386-pc", "-d", ts.File("usr/lib/grub/i386-pc"), "-p", prefix, "-o", file}, modules...)
	if err := ts.Run(ctx, "grub-mkimage", args...); err != nil {
		return err
	}
	fi, err := os.Stat(file)
	if err == nil && fi.Size() > maxCore {
		err = fmt.Errorf("%s has %d bytes, more than %d", file, fi.Size(), maxCore)
	}
	return err
}

// stateImage makes the file system of the boot state: each block is a file of
// it, at a place that is fixed.
func stateImage(ctx context.Context, ts *tools.Tools, file string) error {
	tree := file + ".tree"
	if err := errors.Join(os.RemoveAll(tree), os.RemoveAll(file), os.Mkdir(tree, 0o755)); err != nil {
		return err
	}
	defer os.RemoveAll(tree)
	places := map[string]int64{
		"grub": bootstate.GrubOffset, "os1": bootstate.OS1Offset,
		"os2": bootstate.OS2Offset, "record": bootstate.RecordOffset, "why": bootstate.CauseOffset,
	}
	for name := range places {
		if err := os.WriteFile(filepath.Join(tree, name), stateFile(name), 0o644); err != nil {
			return err
		}
	}
	const id = "0b17e5a7-0000-4000-8000-000000000000"
	err := ts.Run(ctx, "mke2fs", "-q", "-t", "ext2", "-b", "4096", "-I", "128", "-N", "16", "-m", "0",
		"-O", "none,filetype", "-U", id, "-E", "hash_seed="+id+",root_owner=0:0", "-d", tree, file, "1M")
	if err != nil {
		return err
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for name, at := range places {
		if want := stateFile(name); !bytes.HasPrefix(raw[at:], want) {
			return fmt.Errorf("%s: file %s is not at %d KiB but at %d: correct internal/bootstate", file, name, at>>10, bytes.Index(raw, want)>>10)
		}
	}
	return nil
}

// stateFile is what a block holds before anybody has written it; it tells the
// blocks apart.
func stateFile(name string) []byte {
	text := "# GRUB Environment Block\nfile=" + name + "\n"
	return []byte(text + strings.Repeat("#", bootstate.BlockSize-len(text)))
}
