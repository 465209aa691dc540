package userdocker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-os/bulkhead/internal/tool"
)

// A tier is where containerd and dockerd of the first engine run: in the PID,
// IPC and cgroup namespaces of the user tier, which a process holds that
// outlives engines (sysdocker/pid1), and in a mount namespace of their own, which
// is that of our container but for what the kernel shows of these.
//
// This process stays outside, where what goes on in the tier cannot end it.
type tier struct {
	// file has the number of the process that holds the namespaces.
	file string
	home place // ours

	mu     sync.Mutex // guards what follows
	holder string     // PID namespace that inside belongs to
	inside place
}

// A place is a set of namespaces, by the order in which they are entered.
type place []namespace

type namespace struct {
	kind string
	flag int
	file *os.File
}

// kinds are the namespaces of a tier. That of mounts comes last: it hides the
// machine's /proc, by which the others are found.
var kinds = []namespace{
	{kind: "ipc", flag: unix.CLONE_NEWIPC},
	{kind: "cgroup", flag: unix.CLONE_NEWCGROUP},
	{kind: "pid", flag: unix.CLONE_NEWPID},
	{kind: "mnt", flag: unix.CLONE_NEWNS},
}

func newTier(file string) (*tier, error) {
	home, err := openPlace("/proc/thread-self/ns", kinds)
	return &tier{file: file, home: home}, err
}

func openPlace(dir string, kinds []namespace) (place, error) {
	var p place
	for _, n := range kinds {
		f, err := os.Open(filepath.Join(dir, n.kind))
		if err != nil {
			return nil, errors.Join(err, p.close())
		}
		p = append(p, namespace{n.kind, n.flag, f})
	}
	return p, nil
}

func (p place) close() error {
	var errs []error
	for _, n := range p {
		errs = append(errs, n.file.Close())
	}
	return errors.Join(errs...)
}

// enter moves the calling thread, which has to be locked. Of the PID namespace
// its children are, not the thread itself.
func (p place) enter() error {
	// A thread that shares its root and working directory with others stays in
	// their mount namespace.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	for _, n := range p {
		if err := unix.Setns(int(n.file.Fd()), n.flag); err != nil {
			return fmt.Errorf("enter the %s namespace: %w", n.kind, err)
		}
	}
	return nil
}

// enter moves the calling thread, which has to be locked, into the tier until
// leave is called.
func (t *tier) enter() (leave func() error, err error) {
	inside, err := t.current()
	if err != nil {
		return nil, err
	}
	if err := inside.enter(); err != nil {
		return nil, errors.Join(err, t.home.enter())
	}
	return t.home.enter, nil
}

// current returns the tier of the process that holds it now.
func (t *tier) current() (place, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	pid, err := os.ReadFile(t.file)
	if err != nil {
		return nil, fmt.Errorf("user tier: %w", err)
	}
	dir := filepath.Join("/proc", strings.TrimSpace(string(pid)), "ns")
	holder, err := os.Readlink(dir + "/pid")
	if err != nil {
		return nil, fmt.Errorf("user tier: %w", err)
	}
	if holder == t.holder {
		return t.inside, nil
	}
	// It enters the last one of its namespaces itself.
	for _, kind := range []string{"pid", "cgroup"} {
		its, err := os.Readlink(filepath.Join(dir, kind))
		if err != nil {
			return nil, fmt.Errorf("user tier: %w", err)
		}
		if ours, err := os.Readlink("/proc/thread-self/ns/" + kind); err != nil || its == ours {
			return nil, fmt.Errorf("user tier: process %s does not hold it yet: %w", pid, err)
		}
	}
	held, err := openPlace(dir, kinds[:len(kinds)-1])
	if err != nil {
		return nil, fmt.Errorf("user tier: %w", err)
	}
	mounts, err := t.mounts(held)
	if err != nil {
		return nil, fmt.Errorf("user tier: %w", errors.Join(err, held.close()))
	}
	if err := t.inside.close(); err != nil {
		return nil, err
	}
	t.holder, t.inside = holder, append(held, mounts)
	return t.inside, nil
}

// mounts makes the mount namespace for the namespaces held: a copy of our
// container's, with the kernel's file systems as they show these.
func (t *tier) mounts(held place) (n namespace, err error) {
	n = kinds[len(kinds)-1]
	tool.OnOwnThread(func() { n.file, err = makeMounts(held) })
	return n, err
}

func makeMounts(held place) (*os.File, error) {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return nil, fmt.Errorf("unshare mounts: %w", err)
	}
	file, err := os.Open("/proc/thread-self/ns/mnt")
	if err != nil {
		return nil, err
	}
	if err := held.enter(); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	if err := mountKernel(); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// mountKernel mounts the kernel's file systems as the namespaces that the thread
// is in, and its children, have them.
func mountKernel() error {
	// What is mounted and unmounted on a shared mount is so for our container, too.
	parents := []string{"/", "/sys"}
	for _, target := range parents {
		if err := unix.Mount("", target, "", unix.MS_SLAVE, ""); err != nil {
			return fmt.Errorf("keep mounts on %s to the tier: %w", target, err)
		}
	}
	for _, m := range []struct{ kind, target string }{
		{"cgroup2", cgroupRoot},
		{"mqueue", "/dev/mqueue"},
		// A process that is in the PID namespace has to mount it.
		{"proc", "/proc"},
	} {
		if !exists(m.target) {
			continue
		}
		// Beneath, the machine's would still be there.
		if err := unix.Unmount(m.target, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("unmount %s: %w", m.target, err)
		}
		if err := tool.Run(context.Background(), "", "mount", "-n", "-t", m.kind, "-o", "nosuid,nodev,noexec", m.kind, m.target); err != nil {
			return err
		}
	}
	// Containers may ask for mounts of these that follow.
	for _, target := range append(parents, cgroupRoot, "/proc") {
		if err := unix.Mount("", target, "", unix.MS_SHARED, ""); err != nil {
			return fmt.Errorf("share %s: %w", target, err)
		}
	}
	return nil
}
