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
	"github.com/bulkhead-os/bulkhead/internal/meminfo"
)

const cgroupRoot = "/sys/fs/cgroup"

// makeCgroups makes the tree (cgroup v2) and sets the bulkhead between the
// tiers, before anything but this process runs: this process and all that it
// starts are in the OS tier, all that people cause is in the user tier.
func (s *system) makeCgroups(context.Context) error {
	if err := enableControllers(cgroupRoot); err != nil {
		return err
	}
	for _, name := range []string{layout.SystemEngineCgroup, layout.UserTier} {
		if err := os.MkdirAll(cgroupRoot+name, 0o755); err != nil {
			return err
		}
	}
	// While nobody hands controllers on there: a cgroup that does can hold no
	// processes.
	errs := []error{
		makeCgroupNamespace(cgroupRoot, layout.UserTierCgroups),
		moveSelf(cgroupRoot + layout.SystemEngineCgroup),
	}
	for _, name := range []string{layout.SystemCgroup, layout.UserTier, layout.UserTier + layout.UserCgroup, layout.UserTier + layout.UserShimCgroup} {
		errs = append(errs, os.MkdirAll(cgroupRoot+name, 0o755), enableControllers(cgroupRoot+name))
	}
	now, err := tierNow()
	errs = append(errs, err, now.set())
	go s.keepTier(now)
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

// limits are contents of files below the root of the cgroups.
type limits []limit

type limit struct{ cgroup, file, value string }

func (l limits) write(root string) error {
	var errs []error
	for _, limit := range l {
		err := os.WriteFile(filepath.Join(root, limit.cgroup, limit.file), []byte(limit.value), 0o644)
		// Which controllers there are is the kernel's to say.
		if !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// resources are what limits depend on: bytes of memory and of swap, and how many
// threads the kernel allows.
type resources struct{ memory, swap, threads int64 }

// reserve is what of the memory is kept from the user tier, in bytes: a sixth,
// within bounds. On an idle machine of 2 GiB the OS tier takes 115 MB, 75 MB more
// for files that it reads again and again, and the kernel 50 MB for nobody.
func (m resources) reserve() int64 {
	const least, most = 192 << 20, 512 << 20
	return min(max(m.memory/6, least), most, m.memory/3)
}

// Shares of processors and disks when both tiers want more than there is. 100
// is the kernel's default.
const (
	systemWeight = "400"
	userWeight   = "100"
)

// limits are the limits of both tiers. A part of the memory and a quarter of
// swap and threads stay free of the user tier: without, a fork bomb or a leak in
// one container would bring the OS into the kernel's global shortage, from which
// nobody is exempt. There is no memory.high: a process above it that frees
// nothing is slowed down until it stands still, and nothing ends it.
//
// Of what is kept, the kernel takes half from the OS tier only when nothing else
// is left, and the other half not at all: its programs lie on a slow medium.
//
// configured are values of the user tier's files that count instead.
func (m resources) limits(configured map[string]string) limits {
	reserve := m.reserve()
	user := func(file, value string) limit { return limit{layout.UserTier, file, value} }
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	memory := m.memory - reserve
	all := limits{
		{layout.SystemCgroup, "memory.min", number(reserve / 2)},
		{layout.SystemCgroup, "memory.low", number(reserve)},
		{layout.SystemCgroup, "cpu.weight", systemWeight},
		{layout.SystemCgroup, "io.weight", systemWeight},
		user("memory.max", number(memory)),
		user("memory.swap.max", number(m.swap/4*3)),
		user("pids.max", number(m.threads/4*3)),
		user("cpu.weight", userWeight),
		user("io.weight", userWeight),
	}
	for i, l := range all {
		if value, ok := configured[l.file]; ok && l.cgroup == layout.UserTier {
			all[i].value = value
		}
	}
	return all
}

// readResources reads what limits depend on from below proc.
func readResources(proc string) (m resources, err error) {
	text, err := os.ReadFile(proc + "/meminfo")
	if err != nil {
		return m, err
	}
	memory, err := meminfo.Parse(string(text))
	if err != nil {
		return m, err
	}
	m.memory, m.swap = memory.Total, memory.SwapTotal
	text, err = os.ReadFile(proc + "/sys/kernel/threads-max")
	if err != nil {
		return m, err
	}
	m.threads, err = strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return m, err
}
