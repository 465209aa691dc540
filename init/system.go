package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/bulkhead-os/bulkhead/internal/blockdev"
	"github.com/bulkhead-os/bulkhead/internal/bootlog"
	"github.com/bulkhead-os/bulkhead/internal/bootstate"
	"github.com/bulkhead-os/bulkhead/internal/disklayout"
	"github.com/bulkhead-os/bulkhead/internal/fsverity"
	"github.com/bulkhead-os/bulkhead/internal/gpt"
	"github.com/bulkhead-os/bulkhead/internal/kmsg"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/loop"
	"github.com/bulkhead-os/bulkhead/internal/partition"
	"github.com/bulkhead-os/bulkhead/internal/power"
	"github.com/bulkhead-os/bulkhead/internal/uevent"
	"golang.org/x/sys/unix"
)

// A system is the machine as the boot steps see it. Everything that touches
// the machine goes through it; tests have one that records.
type system interface {
	Mount(m mount) error
	Unmount(target string) error
	// EnterRoot makes the mounted directory the root of everything.
	EnterRoot(dir string) error
	// AttachLoop makes a read-only block device of a file.
	AttachLoop(file string) (device string, err error)
	// NoteTrial writes into a boot state why the system in a slot does not come
	// up, if it is on trial.
	NoteTrial(device string, slot bootstate.Slot, cause string) error
	// LoadModule loads a module file of the initramfs, also after EnterRoot.
	LoadModule(path string) error
	// FreeInitramfs deletes what the initramfs holds, after EnterRoot.
	FreeInitramfs() error

	// Subscribe starts the collection of kernel events for NextEvent.
	Subscribe() error
	// NextEvent waits for an event of the kernel's device model;
	// os.ErrDeadlineExceeded when none came.
	NextEvent(deadline time.Time) (uevent.Event, error)
	// Modaliases returns those of all present devices.
	Modaliases() ([]string, error)
	Devices() ([]blockdev.Device, error)
	OpenDevice(path string) (device, error)
	// AddPartition makes a partition of a disk known to the kernel.
	AddPartition(disk string, p disklayout.Partition) error
	WritePartitionTable(disk string, t gpt.Table) error

	ReadFile(path string) (string, error)
	WriteFile(path, content string) error
	MakeDir(path string, mode fs.FileMode) error
	Symlink(target, path string) error
	MakeNode(n node) error
	Exists(path string) bool
	ModTime(path string) (time.Time, error)
	Now() time.Time
	SetClock(t time.Time) error
	// Verity returns the fs-verity digest of a file, in hexadecimal digits.
	Verity(path string) (string, error)
	SetHostname(name string) error

	// Run runs a program to its end and returns its exit status and output.
	Run(ctx context.Context, argv ...string) (status int, output string, err error)
	// Start starts a program that goes on by itself, its output thrown away.
	Start(argv ...string) error
	// Console opens /dev/console.
	Console() (terminal, error)
	// KernelLog returns the kernel's log buffer.
	KernelLog() string
	// Shell runs an interactive program on /dev/console; its exit status is
	// no error.
	Shell(argv, env []string) error
	// Exec replaces this process.
	Exec(path string, argv, env []string) error
	// Reboot ends this boot; see reboot(2) for the commands.
	End(action power.Action) error

	// Log writes to the kernel log, Announce to every console.
	Log(p kmsg.Priority, msg string)
	Announce(line string)
	// Record adds a step to the boot report.
	Record(s bootlog.Step)
}

// A device is an open block device.
type device interface {
	io.ReaderAt
	io.Closer
}

// linux is the real machine.
type linux struct {
	// initramfs is the root directory that the kernel started us in. It
	// stays reachable after the root changed.
	initramfs *os.Root
	events    *os.File
}

func newLinux() (*linux, error) {
	root, err := os.OpenRoot("/")
	if err != nil {
		return nil, err
	}
	return &linux{initramfs: root}, nil
}

func (*linux) Mount(m mount) error {
	return unix.Mount(m.source, m.target, m.fstype, m.flags, m.data)
}

func (*linux) Unmount(target string) error { return unix.Unmount(target, 0) }

func (*linux) EnterRoot(dir string) error {
	if err := os.Chdir(dir); err != nil {
		return err
	}
	// The root of an initramfs cannot be pivoted, only covered. The kernel's
	// own helpers (modprobe) follow: they share this process's root.
	if err := unix.Mount(dir, "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move %s to /: %w", dir, err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("chroot: %w", err)
	}
	return os.Chdir("/")
}

func (*linux) AttachLoop(file string) (string, error) {
	device, err := loop.Attach(file, 0)
	if err != nil {
		return "", err
	}
	return device.Name(), device.Close()
}

func (*linux) NoteTrial(device string, slot bootstate.Slot, cause string) error {
	return bootstate.Store{Device: device}.Note(slot, cause)
}

func (l *linux) LoadModule(path string) error {
	f, err := l.initramfs.Open(strings.TrimPrefix(path, "/"))
	if err != nil {
		return err
	}
	defer f.Close()
	flags := 0
	if !strings.HasSuffix(path, ".ko") {
		flags = unix.MODULE_INIT_COMPRESSED_FILE
	}
	err = unix.FinitModule(int(f.Fd()), "", flags)
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}

func (l *linux) FreeInitramfs() error {
	var st unix.Statfs_t
	dir, err := l.initramfs.Open(".")
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.Fstatfs(int(dir.Fd()), &st); err != nil {
		return err
	}
	if st.Type != unix.RAMFS_MAGIC && st.Type != unix.TMPFS_MAGIC {
		return fmt.Errorf("the first root has file-system type %#x, not an initramfs: nothing deleted", st.Type)
	}
	info, err := dir.Stat()
	if err != nil {
		return err
	}
	return empty(l.initramfs, info.Sys().(*syscall.Stat_t).Dev, strings.TrimPrefix(layout.NetbootDir, "/"))
}

// empty deletes the content of root, but for the path keep, without leaving the
// file system dev.
func empty(root *os.Root, dev uint64, keep string) error {
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		info, err := root.Lstat(e.Name())
		if err != nil || info.Sys().(*syscall.Stat_t).Dev != dev || e.Name() == keep {
			continue
		}
		if e.IsDir() {
			sub, err := root.OpenRoot(e.Name())
			if err != nil {
				errs = append(errs, err)
				continue
			}
			below, _ := strings.CutPrefix(keep, e.Name()+"/")
			errs = append(errs, empty(sub, dev, below))
			sub.Close()
		}
		// EBUSY: something is mounted below; its mount point stays.
		if err := root.Remove(e.Name()); err != nil && !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.ENOTEMPTY) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (*linux) Devices() ([]blockdev.Device, error)    { return blockdev.List("/") }
func (*linux) OpenDevice(path string) (device, error) { return os.Open(path) }
func (*linux) AddPartition(disk string, p disklayout.Partition) error {
	f, err := os.OpenFile(disk, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return partition.Add(f, p.Number, p.Start, p.Size)
}

func (*linux) WritePartitionTable(disk string, t gpt.Table) error {
	encoded, err := t.Encode()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(disk, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(partition.WriteTable(f, int64(t.Sectors)*int64(t.SectorSize), t.SectorSize, encoded), f.Close())
}

func (*linux) MakeDir(path string, mode fs.FileMode) error { return makeDir(path, mode) }
func (*linux) SetHostname(name string) error               { return unix.Sethostname([]byte(name)) }

func (*linux) ReadFile(path string) (string, error) {
	b, err := os.ReadFile(path)
	return string(b), err
}

func (*linux) WriteFile(path, content string) error {
	return os.WriteFile(path, []byte(content), 0o644)
}

// makeDir makes a directory with exactly this mode, and its parents. One that
// exists keeps its mode.
func makeDir(path string, mode fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(path, mode); errors.Is(err, fs.ErrExist) {
		return nil
	} else if err != nil {
		return err
	}
	return os.Chmod(path, mode)
}

func (*linux) Symlink(target, path string) error {
	err := os.Symlink(target, path)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

func (*linux) MakeNode(n node) error {
	err := unix.Mknod(n.path, n.mode(), int(unix.Mkdev(n.major, n.minor)))
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("make %s: %w", n.path, err)
	}
	return nil
}

func (*linux) ModTime(path string) (time.Time, error) {
	info, err := os.Stat(path)
	if err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}

func (*linux) Now() time.Time { return time.Now() }

func (*linux) SetClock(t time.Time) error {
	return unix.ClockSettime(unix.CLOCK_REALTIME, &unix.Timespec{Sec: t.Unix()})
}

func (*linux) Exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (*linux) Verity(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	digest, err := fsverity.Measure(f)
	return hex.EncodeToString(digest[:]), err
}

func (*linux) Run(ctx context.Context, argv ...string) (int, string, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = environment
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.Exited() {
		return exit.ExitCode(), string(out), nil
	}
	return 0, string(out), err
}

func (*linux) Start(argv ...string) error {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = environment
	return cmd.Start()
}

func (*linux) Shell(argv, env []string) error {
	console, err := os.OpenFile("/dev/console", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	defer console.Close()
	cmd := &exec.Cmd{
		Path: argv[0], Args: argv, Env: env, Dir: "/",
		Stdin: console, Stdout: console, Stderr: console,
		// Its own session with a terminal, for job control and Ctrl-C.
		SysProcAttr: &syscall.SysProcAttr{Setsid: true, Setctty: true},
	}
	err = cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return nil
	}
	return err
}

func (*linux) Console() (terminal, error) {
	return os.OpenFile("/dev/console", os.O_RDWR|syscall.O_NOCTTY|syscall.O_NONBLOCK, 0)
}

func (*linux) KernelLog() string {
	const readAll = 3 // SYSLOG_ACTION_READ_ALL
	buf := make([]byte, 1<<20)
	n, err := unix.Klogctl(readAll, buf)
	if err != nil {
		return err.Error()
	}
	return string(buf[:n])
}

func (*linux) Exec(path string, argv, env []string) error { return unix.Exec(path, argv, env) }

func (*linux) End(action power.Action) error {
	unix.Sync()
	// Clean when nothing writes; the journal is for when something does.
	_ = unix.Mount("", layout.StateDir, "", unix.MS_REMOUNT|unix.MS_RDONLY, "")
	return power.Now(action)
}

// Before /dev is mounted there is no one to tell.
func (*linux) Log(p kmsg.Priority, msg string) { _ = kmsg.Write(p, msg) }
func (*linux) Announce(line string)            { _ = kmsg.Announce(line) }

// A boot that cannot be recorded is still a boot.
func (*linux) Record(s bootlog.Step) { _ = bootlog.Append(layout.BootEvents, s) }
