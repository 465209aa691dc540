package pid1

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-os/bulkhead/internal/layout"
)

// helperEnv names what this test binary does instead of testing, when it is
// the first process of a PID namespace.
const helperEnv = "BULKHEAD_PID1_TEST"

func TestMain(m *testing.M) {
	helpers := map[string]func() error{"boot": bootHelper, "reaper": reaperHelper}
	if helper, ok := helpers[os.Getenv(helperEnv)]; ok {
		if err := helper(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// inNamespaces returns the command that runs helper as PID 1.
func inNamespaces(t *testing.T, helper string, flags uintptr) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), helperEnv+"="+helper)
	cmd.Stderr = t.Output()
	cmd.Stdout = t.Output()
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | flags,
		Pdeathsig:  syscall.SIGKILL,
	}
	return cmd
}

// A machine is a PID namespace in which the real engine binary is PID 1. Its
// root is this machine's with an overlay on top.
type machine struct {
	t   *testing.T
	cmd *exec.Cmd
	// top is the upper directory of the overlay: what the machine writes and
	// what a test puts there before.
	top    string
	ended  chan struct{}
	status syscall.WaitStatus
}

// newMachine prepares a machine. bin has the engine's binaries.
func newMachine(t *testing.T, bin string) *machine {
	t.Helper()
	dir := t.TempDir()
	m := &machine{t: t, top: filepath.Join(dir, "upper"), ended: make(chan struct{})}
	must(t, unix.Mount("none", dir, "tmpfs", 0, ""))
	t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	for _, d := range []string{"work", "root", "upper"} {
		must(t, os.Mkdir(filepath.Join(dir, d), 0o755))
	}
	for _, d := range []string{layout.EngineBin, layout.HostLibexecDir, layout.LayersDir, layout.ImagesDir,
		"/var/lib", "/var/log", "/etc/docker", "/run", "/tmp"} {
		must(t, os.MkdirAll(filepath.Join(m.top, d), 0o755))
		// What this machine has there is not to be seen.
		if d != "/tmp" {
			must(t, unix.Setxattr(filepath.Join(m.top, d), "trusted.overlay.opaque", []byte("y"), 0))
		}
	}
	for name, from := range map[string]string{
		"dockerd": "engine", "containerd": "containerd", "containerd-shim-runc-v2": "containerd-shim-runc-v2", "runc": "runc",
	} {
		content, err := os.ReadFile(filepath.Join(bin, from))
		must(t, err)
		m.write(filepath.Join(layout.EngineBin, name), string(content), 0o755)
	}
	m.write(layout.ImageIndex, `{"images":[]}`, 0o644)
	m.write(filepath.Join(layout.HostLibexecDir, "orchestrator"), orchestrator, 0o755)

	m.cmd = inNamespaces(t, "boot", syscall.CLONE_NEWNET|syscall.CLONE_NEWIPC|syscall.CLONE_NEWUTS|syscall.CLONE_NEWCGROUP)
	m.cmd.Env = append(m.cmd.Env, "ROOT="+dir)
	m.cmd.SysProcAttr.UseCgroupFD = true
	m.cmd.SysProcAttr.CgroupFD = newCgroup(t)
	return m
}

// orchestrator takes a second to stop its services.
const orchestrator = `#!/bin/sh
echo "runs with OOM score $(cat /proc/$$/oom_score_adj)"
trap 'echo stopping; sleep 1; echo stopped; exit 0' TERM
while :; do sleep 0.1; done
`

// newCgroup makes a cgroup (v2, also on machines that use v1) and returns it
// opened.
func newCgroup(t *testing.T) int {
	t.Helper()
	root := t.TempDir()
	must(t, unix.Mount("none", root, "cgroup2", 0, ""))
	dir, err := os.MkdirTemp(root, "bulkhead-test-")
	must(t, err)
	fd, err := unix.Open(dir, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() {
		unix.Close(fd)
		removeCgroup(t, dir)
		must(t, unix.Unmount(root, unix.MNT_DETACH))
	})
	return fd
}

// removeCgroup removes dir and those in it, once their last processes are gone.
func removeCgroup(t *testing.T, dir string) {
	var dirs []string
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, _ error) error {
		if d != nil && d.IsDir() {
			dirs = append([]string{path}, dirs...)
		}
		return nil
	})
	for _, d := range dirs {
		var err error
		for range 100 {
			if err = os.Remove(d); err == nil || errors.Is(err, os.ErrNotExist) {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
	}
}

func (m *machine) write(path, content string, mode os.FileMode) {
	m.t.Helper()
	must(m.t, os.WriteFile(filepath.Join(m.top, path), []byte(content), mode))
}

// path is where the test sees a file of the machine.
func (m *machine) path(p string) string {
	return fmt.Sprintf("/proc/%d/root%s", m.cmd.Process.Pid, p)
}

// boot starts PID 1. The machine is killed at the end of the test.
func (m *machine) boot() {
	m.t.Helper()
	must(m.t, m.cmd.Start())
	go func() {
		_ = m.cmd.Wait()
		m.status = m.cmd.ProcessState.Sys().(syscall.WaitStatus)
		close(m.ended)
	}()
	m.t.Cleanup(func() {
		_ = m.cmd.Process.Kill()
		<-m.ended
		if m.t.Failed() {
			m.t.Logf("log of the machine:\n%s", m.log())
		}
	})
}

// log is the system tier's log, without containerd's lines.
func (m *machine) log() string {
	text, err := os.ReadFile(filepath.Join(m.top, layout.SystemLog))
	if err != nil {
		return err.Error()
	}
	var out bytes.Buffer
	for line := range bytes.Lines(text) {
		if !bytes.HasPrefix(line, []byte("containerd: ")) {
			out.Write(line)
		}
	}
	return out.String()
}

// await waits until holds says so.
func (m *machine) await(what string, holds func() bool) {
	m.t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if holds() {
			return
		}
		select {
		case <-m.ended:
			m.t.Fatalf("machine ended (%v) while waiting: %s", m.status, what)
		default:
		}
	}
	m.t.Fatalf("not within a minute: %s", what)
}

func (m *machine) awaitLog(text string) {
	m.t.Helper()
	m.await("log says "+text, func() bool { return strings.Contains(m.log(), text) })
}

// kill sends PID 1 a signal.
func (m *machine) kill(sig syscall.Signal) {
	m.t.Helper()
	must(m.t, m.cmd.Process.Signal(sig))
}

// awaitEnd waits for reboot(2), which ends a PID namespace by a signal:
// SIGHUP for a restart, SIGINT for the others; see reboot(2).
func (m *machine) awaitEnd(want syscall.Signal) {
	m.t.Helper()
	select {
	case <-m.ended:
	case <-time.After(time.Minute):
		m.t.Fatal("machine does not end")
	}
	if !m.status.Signaled() || m.status.Signal() != want {
		m.t.Errorf("machine ended with status %#x; want signal %v", m.status, want)
	}
}

// bootHelper is /init: it makes the machine's root and becomes the engine.
func bootHelper() error {
	dir := os.Getenv("ROOT")
	root := filepath.Join(dir, "root")
	at := func(p string) string { return filepath.Join(root, p) }
	overlay := fmt.Sprintf("lowerdir=/,upperdir=%s/upper,workdir=%s/work", dir, dir)
	for _, m := range []struct {
		source, target, fstype string
		flags                  uintptr
		data                   string
	}{
		{"", "/", "", unix.MS_REC | unix.MS_PRIVATE, ""},
		{"overlay", root, "overlay", 0, overlay},
		{"proc", at("proc"), "proc", 0, ""},
		// Kernel parameters are everyone's.
		{at("proc/sys"), at("proc/sys"), "", unix.MS_BIND, ""},
		{"", at("proc/sys"), "", unix.MS_REMOUNT | unix.MS_BIND | unix.MS_RDONLY, ""},
		{"sysfs", at("sys"), "sysfs", 0, ""},
		{"cgroup2", at("sys/fs/cgroup"), "cgroup2", 0, ""},
		{"tmpfs", at("dev"), "tmpfs", 0, ""},
		{"tmpfs", at("run"), "tmpfs", 0, ""},
		// The state is no overlay: overlays do not stack on one.
		{filepath.Join(dir, "upper/var"), at("var"), "", unix.MS_BIND, ""},
		{"", root, "", unix.MS_REC | unix.MS_SHARED, ""},
	} {
		if err := unix.Mount(m.source, m.target, m.fstype, m.flags, m.data); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	if os.Getenv("BROKEN_DISK") != "" {
		if err := errors.Join(
			unix.Mount(at("var/lib"), at("var/lib"), "", unix.MS_BIND, ""),
			unix.Mount("", at("var/lib"), "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""),
		); err != nil {
			return err
		}
	}
	for _, name := range []string{"null", "zero", "urandom", "random", "full", "tty"} {
		if err := os.WriteFile(at("dev/"+name), nil, 0o666); err != nil {
			return err
		}
		if err := unix.Mount("/dev/"+name, at("dev/"+name), "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("bind /dev/%s: %w", name, err)
		}
	}
	if err := errors.Join(os.MkdirAll(at(layout.RunDir), 0o755), unix.Chroot(root), os.Chdir("/")); err != nil {
		return err
	}
	path := filepath.Join(layout.EngineBin, "dockerd")
	return syscall.Exec(path, []string{layout.SystemInit}, []string{"PATH=" + layout.EngineBin + ":/usr/sbin:/usr/bin:/sbin:/bin"})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
