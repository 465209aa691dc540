package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-os/bulkhead/e2e/qemutest"
)

// What a run takes, in MB, measured on 2026-11-30.
const (
	buildMemory = 2500 // the linker with the engine
	qemuMemory  = 400  // QEMU beside the guest's memory: translated code
	cacheSpace  = 6000 // packages, modules, compiled code, layers, the emulator
	distSpace   = 700  // the artefacts
	stateSpace  = 1000 // what a boot and some images write to the state disk
)

// A space is what a folder's file system has to offer, in MB.
type space struct {
	dir string
	mb  int
}

// spaces are the folders that a run writes to.
func spaces(dist, cache string, building bool) []space {
	s := []space{{dist, stateSpace}}
	if building {
		s[0].mb += distSpace
		s = append(s, space{cache, cacheSpace})
	}
	return s
}

// enough complains, with a remedy, when memory or disk do not suffice.
func enough(s settings, dist string, building bool) error {
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	return errors.Join(
		enoughDisk(spaces(dist, cache, building), statfs),
		enoughMemory(s.memory, building, availableMemory()))
}

// enoughDisk adds up what each file system has to offer; free returns its
// identity and what is free, in MB.
func enoughDisk(spaces []space, free func(dir string) (device uint64, mb int, err error)) error {
	wanted := make(map[uint64]int)
	var errs []error
	for _, s := range spaces {
		device, mb, err := free(s.dir)
		if err != nil {
			return err
		}
		wanted[device] += s.mb
		if mb < wanted[device] {
			errs = append(errs, fmt.Errorf("too little space at %s: %d MB are free, about %d are needed; free some, or put the folder on another disk", s.dir, mb, wanted[device]))
		}
	}
	return errors.Join(errs...)
}

// statfs is enoughDisk's free. A folder that is not there yet counts as the
// first one above it that is.
func statfs(dir string) (device uint64, mb int, err error) {
	for {
		var st unix.Stat_t
		if err := unix.Stat(dir, &st); err != nil {
			if errors.Is(err, unix.ENOENT) && dir != filepath.Dir(dir) {
				dir = filepath.Dir(dir)
				continue
			}
			return 0, 0, fmt.Errorf("space at %s: %w", dir, err)
		}
		var fs unix.Statfs_t
		if err := unix.Statfs(dir, &fs); err != nil {
			return 0, 0, fmt.Errorf("space at %s: %w", dir, err)
		}
		return st.Dev, int(fs.Bavail * uint64(fs.Bsize) >> 20), nil
	}
}

// enoughMemory compares what is available, in MB, or 0 when that is not known.
func enoughMemory(machine int, building bool, available int) error {
	switch {
	case available == 0:
		return nil
	case available < machine+qemuMemory:
		return fmt.Errorf("too little memory: %d MB are available, a machine with --memory %d takes about %d; end other programs, or give it less with --memory", available, machine, machine+qemuMemory)
	case building && available < buildMemory:
		return fmt.Errorf("too little memory: %d MB are available, the build takes about %d; end other programs, or add swap", available, buildMemory)
	}
	return nil
}

var memAvailable = regexp.MustCompile(`(?m)^MemAvailable:\s+(\d+) kB$`)

// availableMemory is the kernel's estimate, in MB; see proc_meminfo(5).
func availableMemory() int {
	raw, _ := os.ReadFile("/proc/meminfo")
	m := memAvailable.FindSubmatch(raw)
	if m == nil {
		return 0
	}
	kb, _ := strconv.Atoi(string(m[1]))
	return kb >> 10
}

// acceleration says how the machine will run, and why no faster.
func acceleration() string {
	if qemutest.Accel() == "kvm" {
		return "the machine runs under KVM"
	}
	if err := qemutest.KVM(); err != nil {
		return fmt.Sprintf("the machine is emulated, its boot takes about a minute: %v", err)
	}
	return "the machine is emulated, as E2E_ACCEL says"
}
