package main

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/bulkhead-os/bulkhead/internal/kmsg"
)

// drivers loads kernel modules from the initramfs, which holds those that
// reach boot media. All others are udev's business. The index files are
// depmod's; see modules.dep(5) and depmod(8).
type drivers struct {
	sys system
	dir string
	// files has the path below dir of each module by its name.
	files   map[string]string
	modules map[string]*module
	// aliases are keyed by what stands before the first colon ("pci").
	aliases map[string][]alias
	// before are modules that a module asks for at run time (softdep pre).
	before map[string][]string
}

// A module is a module file. It is loaded once, by the first who needs it.
type module struct {
	// deps are the files it needs, as in modules.dep: in reverse order.
	deps []string
	once sync.Once
	err  error
}

// An alias says which module drives devices whose modalias matches pattern.
type alias struct{ pattern, module string }

// readDrivers reads the index of the modules in dir.
func readDrivers(sys system, dir string) (*drivers, error) {
	d := &drivers{
		sys: sys, dir: dir,
		files: map[string]string{}, modules: map[string]*module{},
		aliases: map[string][]alias{}, before: map[string][]string{},
	}
	index, err := sys.ReadFile(path.Join(dir, "modules.dep"))
	if err != nil {
		return nil, fmt.Errorf("the initramfs has no modules for this kernel: %w", err)
	}
	for line := range strings.Lines(index) {
		file, deps, found := strings.Cut(line, ":")
		if !found {
			continue
		}
		d.files[moduleName(file)] = file
		d.modules[file] = &module{deps: strings.Fields(deps)}
	}
	// Either may be missing: then no module has such lines.
	index, _ = sys.ReadFile(path.Join(dir, "modules.alias"))
	for line := range strings.Lines(index) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "alias" {
			bus, _, _ := strings.Cut(f[1], ":")
			d.aliases[bus] = append(d.aliases[bus], alias{pattern: f[1], module: f[2]})
		}
	}
	index, _ = sys.ReadFile(path.Join(dir, "modules.softdep"))
	for line := range strings.Lines(index) {
		f := strings.Fields(line)
		if len(f) < 3 || f[0] != "softdep" {
			continue
		}
		pre := false
		for _, word := range f[2:] {
			if strings.HasSuffix(word, ":") {
				pre = word == "pre:"
			} else if pre {
				d.before[f[1]] = append(d.before[f[1]], word)
			}
		}
	}
	return d, nil
}

// moduleName returns the kernel's name of a module file: "ata_piix" for
// "kernel/drivers/ata/ata-piix.ko.xz".
func moduleName(file string) string {
	name, _, _ := strings.Cut(path.Base(file), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

// load loads what a module name or alias stands for and what that needs. That
// the initramfs has nothing by that name is no error: it is built in, or not
// for a boot medium.
func (d *drivers) load(name string) error {
	if d == nil {
		return nil
	}
	for _, file := range d.plan(name) {
		m := d.modules[file]
		m.once.Do(func() { m.err = d.sys.LoadModule(path.Join(d.dir, file)) })
		// ENODEV is a driver's way to say that the device is not for it. Of two
		// that stand for one algorithm, as crc32c_intel and crc32c_generic do for
		// ext4, the processor may lack what the first wants.
		if m.err != nil && !errors.Is(m.err, syscall.ENODEV) {
			return fmt.Errorf("load module %s: %w", moduleName(file), m.err)
		}
	}
	return nil
}

// plan returns the files to load for a module name or alias, in order.
func (d *drivers) plan(name string) []string {
	var files []string
	planned := map[string]bool{}
	var add func(name string)
	add = func(name string) {
		for _, file := range d.lookup(name) {
			if planned[file] {
				continue
			}
			planned[file] = true
			for _, before := range d.before[moduleName(file)] {
				add(before)
			}
			// modules.dep has what is needed first last.
			for _, dep := range slices.Backward(d.modules[file].deps) {
				add(moduleName(dep))
			}
			files = append(files, file)
		}
	}
	add(name)
	return files
}

// lookup returns the files of a module name or alias.
func (d *drivers) lookup(name string) []string {
	if file, ok := d.files[strings.ReplaceAll(name, "-", "_")]; ok {
		return []string{file}
	}
	bus, _, _ := strings.Cut(name, ":")
	var files []string
	for _, a := range d.aliases[bus] {
		file, ok := d.files[a.module]
		if !ok {
			continue
		}
		if match, err := path.Match(a.pattern, name); err == nil && match {
			files = append(files, file)
		}
	}
	return files
}

// drive loads the drivers of a device that has appeared. A driver that fails
// is logged; whether that matters shows when the medium is missing.
func (d *drivers) drive(modalias string) {
	defer func() {
		if r := recover(); r != nil {
			d.sys.Log(kmsg.Error, fmt.Sprintf("init: BUG: load driver for %s: %v", modalias, r))
		}
	}()
	if err := d.load(modalias); err != nil {
		d.sys.Log(kmsg.Warning, "init: "+err.Error())
	}
}

// filesystemHelpers are modules that file systems ask for by name once they
// are mounted, which cannot work in the initramfs: it has no modprobe.
var filesystemHelpers = map[string][]string{
	"vfat": {"nls_cp437", "nls_ascii", "nls_iso8859_1", "nls_utf8"},
	"ext4": {"crc32c"}, "xfs": {"crc32c"}, "btrfs": {"crc32c"}, "erofs": {"crc32c"},
}

// filesystem loads the driver of a file-system type.
func (d *drivers) filesystem(fstype string) {
	for _, name := range filesystemHelpers[fstype] {
		d.drive(name)
	}
	d.drive("fs-" + fstype)
}

// workers is how many drivers start at the same time: most of that is waiting
// for hardware, and verifying signatures.
const workers = 4

// driveAll loads the drivers for module names and modaliases.
func (d *drivers) driveAll(names []string) {
	queue := make(chan string)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for name := range queue {
				d.drive(name)
			}
		})
	}
	for _, name := range names {
		queue <- name
	}
	close(queue)
	wg.Wait()
}
