package pid1

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/bulkhead-os/bulkhead/internal/layout"
)

const cgroupRoot = "/sys/fs/cgroup"

// cgroups are the parents of everything but PID 1 and its children, which stay
// in the root. They exist from the start so that the two tiers are apart
// before the first container runs.
var cgroups = []string{layout.SystemCgroup, layout.UserCgroup, layout.UserShimCgroup}

// makeCgroups makes the tree (cgroup v2) and sets the bulkhead between the
// tiers: what user containers can take of memory and processes ends before the
// OS has none left.
func makeCgroups(context.Context) error {
	if err := enableControllers(cgroupRoot); err != nil {
		return err
	}
	for _, name := range cgroups {
		dir := filepath.Join(cgroupRoot, name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := enableControllers(dir); err != nil {
			return err
		}
	}
	memory, err := memTotal("/proc/meminfo")
	if err != nil {
		return err
	}
	threads, err := readInt("/proc/sys/kernel/threads-max")
	if err != nil {
		return err
	}
	var errs []error
	for _, l := range userLimits(memory, threads) {
		path := filepath.Join(cgroupRoot, layout.UserCgroup, l.file)
		if err := os.WriteFile(path, []byte(l.value), 0o644); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// enableControllers hands every controller that dir has to its children, one
// by one: a single write stops at the first controller that is busy.
func enableControllers(dir string) error {
	have, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range strings.Fields(string(have)) {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+name), 0o644); err != nil {
			errs = append(errs, fmt.Errorf("cgroup controller %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

type cgroupLimit struct{ file, value string }

// Bounds of what is kept from user containers.
const (
	minReserve = 96 << 20  // bytes: both engines and the OS services, idle
	maxReserve = 512 << 20 // bytes
)

// userLimits returns the limits of the cgroup of all user containers together,
// on a machine with memory bytes of RAM and a kernel that allows this many
// threads: an eighth of the memory and a quarter of the threads stay free.
// Without, a fork bomb or a leak in one container would bring the OS into the
// kernel's global shortage, from which nobody is exempt.
func userLimits(memory, threads int64) []cgroupLimit {
	reserve := min(max(memory/8, minReserve), maxReserve)
	limits := []cgroupLimit{{"pids.max", strconv.FormatInt(threads/4*3, 10)}}
	if memory > 2*reserve {
		limits = append(limits, cgroupLimit{"memory.max", strconv.FormatInt(memory-reserve, 10)})
	}
	return limits
}

// memTotal returns the machine's memory in bytes.
func memTotal(meminfo string) (int64, error) {
	text, err := os.ReadFile(meminfo)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "MemTotal:" {
			kib, err := strconv.ParseInt(f[1], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("%s: no MemTotal", meminfo)
}

func readInt(path string) (int64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
}
