package main

import (
	"context"
	"fmt"
	"io/fs"
	"math"
	"path"
	"strconv"
	"strings"

	"github.com/bulkhead-os/bulkhead/internal/kmsg"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/meminfo"
	"github.com/bulkhead-os/bulkhead/os-config/cmdline"
	"golang.org/x/sys/unix"
)

// A mount is one call of mount(2).
type mount struct {
	source, target, fstype string
	flags                  uintptr
	data                   string
}

func (m mount) String() string {
	switch {
	case m.flags&unix.MS_MOVE != 0:
		return fmt.Sprintf("move mount %s to %s", m.source, m.target)
	case m.flags&unix.MS_REMOUNT != 0 && m.flags&unix.MS_RDONLY != 0:
		return "make " + m.target + " read-only"
	case m.flags&unix.MS_REMOUNT != 0:
		return "keep setuid and devices from " + m.target
	case m.flags&unix.MS_BIND != 0:
		return fmt.Sprintf("bind %s to %s", m.source, m.target)
	}
	return fmt.Sprintf("mount %s (%s) on %s", m.source, m.fstype, m.target)
}

const (
	nosuid  = unix.MS_NOSUID
	nodev   = unix.MS_NODEV
	noexec  = unix.MS_NOEXEC
	bind    = unix.MS_BIND
	movable = unix.MS_MOVE
)

// kernelMounts are made in the initramfs and move to the new root. The kernel
// mounts none of them itself: CONFIG_DEVTMPFS_MOUNT is not for an initramfs.
var kernelMounts = []mount{
	{"proc", "/proc", "proc", nosuid | nodev | noexec, ""},
	{"sysfs", "/sys", "sysfs", nosuid | nodev | noexec, ""},
	{"devtmpfs", "/dev", "devtmpfs", nosuid, "mode=0755"},
	{"tmpfs", "/run", "tmpfs", nosuid | nodev, "mode=0755,size=10%"},
}

// kernelInterfaces lie below /sys and move with it. They are mounted this
// early because there is no modprobe yet: for bpf the kernel would call it
// (bpf_preload) without result, for 0.4 s of an emulated boot.
var kernelInterfaces = []mount{
	{"cgroup2", "/sys/fs/cgroup", "cgroup2", nosuid | nodev | noexec, layout.CgroupOptions},
	{"securityfs", "/sys/kernel/security", "securityfs", nosuid | nodev | noexec, ""},
	{"debugfs", "/sys/kernel/debug", "debugfs", nosuid | nodev | noexec, ""},
	{"tracefs", "/sys/kernel/tracing", "tracefs", nosuid | nodev | noexec, ""},
	{"bpf", "/sys/fs/bpf", "bpf", nosuid | nodev | noexec, "mode=0700"},
	{"pstore", "/sys/fs/pstore", "pstore", nosuid | nodev | noexec, ""},
	{"efivarfs", "/sys/firmware/efi/efivars", "efivarfs", nosuid | nodev | noexec, ""},
}

// systemMounts are made in the new root.
var systemMounts = []mount{
	{"devpts", "/dev/pts", "devpts", nosuid | noexec, "gid=5,mode=0620,ptmxmode=0666"},
	{"tmpfs", "/dev/shm", "tmpfs", nosuid | nodev, "mode=1777"},
	{"mqueue", "/dev/mqueue", "mqueue", nosuid | nodev | noexec, ""},
	{"tmpfs", "/tmp", "tmpfs", nosuid | nodev, "mode=1777,size=50%"},
	// The user tier fills these up and not what the OS has in /run.
	{"tmpfs", layout.UserRunDir, "tmpfs", nosuid | nodev, "mode=0755,size=10%,nr_inodes=128k"},
	{"tmpfs", layout.UserShmDir, "tmpfs", nosuid | nodev, "mode=1777"},
	{layout.ModulesDir, "/usr/lib/modules", "", bind | unix.MS_REC, ""},
}

// mount does one mount, once: a step that is tried again does not stack
// mounts on each other.
func (b *boot) mount(m mount) error {
	if b.mounted[m.target] {
		return nil
	}
	if err := b.sys.Mount(m); err != nil {
		return fmt.Errorf("%v: %w", m, err)
	}
	b.mounted[m.target] = true
	return nil
}

func (b *boot) unmount(target string) error {
	if err := b.sys.Unmount(target); err != nil {
		return fmt.Errorf("unmount %s: %w", target, err)
	}
	delete(b.mounted, target)
	return nil
}

func mountKernel(_ context.Context, b *boot) error {
	for _, m := range kernelMounts {
		if err := b.sys.MakeDir(m.target, 0o755); err != nil {
			return err
		}
		if err := b.mount(m); err != nil {
			return err
		}
	}
	for _, m := range kernelInterfaces {
		// Not every kernel and machine has each of them.
		if !b.sys.Exists(m.target) {
			continue
		}
		if err := b.mount(m); err != nil {
			b.sys.Log(kmsg.Notice, "init: "+err.Error())
		}
	}
	if err := tuneMemory(b.sys); err != nil {
		b.sys.Log(kmsg.Notice, "init: "+err.Error())
	}
	return b.sys.MakeDir(layout.RunDir, 0o755)
}

// smallMemory is the size of a machine, in kB, below which memory is worth more
// than the huge pages that could be made of it.
const smallMemory = 4 << 20

// tuneMemory keeps huge pages to those who ask for them (madvise): for all they
// would cost the Go programs of both tiers half again their memory, 60 MB.
//
// For the sake of huge pages the kernel also holds back 45 MB, and with its
// watermarks more than twice that, on any machine (set_recommended_min_free_kbytes
// in mm/khugepaged.c). A small one gets what it would have without them, by the
// formula of calculate_min_free_kbytes in mm/page_alloc.c.
func tuneMemory(sys system) error {
	if err := sys.WriteFile("/sys/kernel/mm/transparent_hugepage/enabled", "madvise"); err != nil {
		return err
	}
	text, err := sys.ReadFile(meminfo.File)
	if err != nil {
		return err
	}
	memory, err := meminfo.Parse(text)
	if err != nil {
		return err
	}
	total := memory.Total >> 10 // kB, which the kernel counts in
	if total >= smallMemory {
		return nil
	}
	return sys.WriteFile("/proc/sys/vm/min_free_kbytes", strconv.Itoa(int(math.Sqrt(float64(total)*16))))
}

func readParameters(_ context.Context, b *boot) error {
	line, err := b.sys.ReadFile("/proc/cmdline")
	if err != nil {
		return err
	}
	b.params = cmdline.Parse(line)
	b.state = newStateParams(b.params)
	release, err := b.sys.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return err
	}
	b.kernel = strings.TrimSpace(release)
	// By default user space may write ten records in five seconds; the boot
	// writes more. Refused when the command line has printk.devkmsg.
	_ = b.sys.WriteFile("/proc/sys/kernel/printk_devkmsg", "on\n")
	return nil
}

func mountSystem(_ context.Context, b *boot) error {
	if err := b.mountModules(); err != nil {
		return err
	}
	for _, m := range systemMounts {
		if err := b.sys.MakeDir(m.target, 0o755); err != nil {
			return err
		}
		if err := b.mount(m); err != nil {
			return err
		}
	}
	for name, target := range devLinks {
		if err := b.sys.Symlink(target, path.Join("/dev", name)); err != nil {
			return err
		}
	}
	return nil
}

// mountModules mounts the image of the modules that few machines load. By a
// loop device: EROFS in a file of EROFS in a file is refused by the kernel.
func (b *boot) mountModules() error {
	m := mount{"", path.Join(layout.ModulesDir, b.kernel, layout.ModulesImageAt), "erofs", unix.MS_RDONLY, ""}
	if b.mounted[m.target] {
		return nil
	}
	var err error
	if m.source, err = b.attachLoop(layout.ModulesImage); err != nil {
		return err
	}
	return b.mount(m)
}

// devLinks are the links in /dev that programs expect. devtmpfs has the nodes
// only, and the C library logs to /dev/log.
var devLinks = map[string]string{
	"fd":     "/proc/self/fd",
	"stdin":  "/proc/self/fd/0",
	"stdout": "/proc/self/fd/1",
	"stderr": "/proc/self/fd/2",
	"log":    layout.SyslogSocket,
}

// A stateDir is a directory of the state that appears in the root.
type stateDir struct {
	// name is below layout.StateDir, and target in the root: "var/lib".
	name string
	mode fs.FileMode
	// people: it is on the data partition, where there is one.
	people bool
}

// stateDirs is laid out like the root of an installed RancherOS, whose state
// partition can be used as it is.
var stateDirs = []stateDir{
	{name: "var/lib", mode: 0o755},
	{name: "var/log", mode: 0o755},
	{name: "home", mode: 0o755, people: true},
	{name: "opt", mode: 0o755, people: true},
	{name: "mnt", mode: 0o755, people: true},
	{name: "media", mode: 0o755, people: true},
	{name: "root", mode: 0o700},
	{name: "etc/docker", mode: 0o755},
}

// peoplesDirs do not appear in the root, where some of their names are taken:
// services mount them from the state.
var peoplesDirs = []stateDir{
	{name: "srv", mode: 0o755, people: true},
	{name: "data", mode: 0o755, people: true},
	{name: "usr/local", mode: 0o755, people: true},
	{name: "var/tmp", mode: fs.ModeSticky | 0o777, people: true},
}

// restrictMounts keeps what a container leaves in people's directories from giving
// rights to others: setuid programs, devices, and what root runs. Console and user
// Docker get these mounts with their flags. Without one of them a machine boots
// all the same: somebody may have put a file into the directory's place.
func (b *boot) restrictMounts() {
	restrict := func(target string, flags uintptr) {
		var err error
		if !b.mounted[target] {
			err = b.mount(mount{source: target, target: target, flags: bind})
		}
		if err == nil {
			err = b.sys.Mount(mount{target: target, flags: bind | unix.MS_REMOUNT | nosuid | nodev | flags})
		}
		if err != nil {
			b.sys.Log(kmsg.Warning, fmt.Sprintf("init: %s has no limits: %v", target, err))
		}
	}
	for _, d := range stateDirs {
		if d.people {
			restrict("/"+d.name, 0)
		}
	}
	restrict("/root", 0)
	for _, d := range peoplesDirs {
		restrict(path.Join(layout.StateDir, d.name), 0)
	}
	for _, dir := range layout.RootRunDirs() {
		if err := b.sys.MakeDir(dir, 0o755); err != nil {
			b.sys.Log(kmsg.Warning, fmt.Sprintf("init: %v", err))
			continue
		}
		restrict(dir, unix.MS_RDONLY)
	}
}

func bindState(_ context.Context, b *boot) error {
	for _, d := range stateDirs {
		source := path.Join(layout.StateDir, d.name)
		if d.people && b.data == dataMounted {
			source = path.Join(layout.DataDir, d.name)
		}
		if err := b.mount(mount{source: source, target: "/" + d.name, flags: bind}); err != nil {
			return err
		}
	}
	if b.data == dataMounted {
		for _, d := range peoplesDirs {
			if err := b.mount(mount{source: path.Join(layout.DataDir, d.name), target: path.Join(layout.StateDir, d.name), flags: bind}); err != nil {
				return err
			}
		}
	}
	if err := b.bindData(); err != nil {
		return err
	}
	b.restrictMounts()
	// Containers with shared mounts see each other's, as on any host.
	if err := b.sys.Mount(mount{target: "/", flags: unix.MS_SHARED | unix.MS_REC}); err != nil {
		return fmt.Errorf("share the root mount: %w", err)
	}
	return nil
}
