package pid1

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-os/bulkhead/internal/kmsg"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/sysdocker/layers"
)

// An attempt is how the system tier is started. After a failure PID 1 runs
// itself again with the next one: a daemon cannot be started twice in a process.
type attempt string

const (
	asConfigured attempt = "as configured"
	again        attempt = "once more"
	builtIn      attempt = "with the built-in settings"
	freshStore   attempt = "with a fresh store"
	inMemory     attempt = "with a store in memory"
)

// attemptEnv hands the attempt over.
const attemptEnv = "BULKHEAD_ATTEMPT"

func attemptFromEnv(text string) attempt {
	switch a := attempt(text); a {
	case again, builtIn, freshStore, inMemory:
		return a
	}
	return asConfigured
}

// healthyFor is how long the system tier has to run for a failure to count as
// the first one.
const healthyFor = 10 * time.Minute

// next returns what to try after a failure of attempt a, which ran for ran with
// or without an operator's configuration: drop that, then the store, then the
// disk that the store is on. There the machine can still be reached and
// repaired. After that only a person can help.
func (a attempt) next(f failure, configured bool, ran time.Duration) (attempt, bool) {
	damaged := f.step == "containerd" || errors.Is(f.cause, layers.ErrDamaged)
	switch {
	case ran >= healthyFor && !damaged:
		return again, true
	case ran < healthyFor && a == inMemory:
		return "", false
	case ran < healthyFor && a == freshStore:
		return inMemory, true
	case damaged:
		return freshStore, true
	case a == asConfigured && configured:
		return builtIn, true
	case a == asConfigured:
		return again, true
	}
	return freshStore, true
}

// recoverFrom does what can be done about a failure: another attempt, or a
// rescue shell and then another attempt. It does not return.
func (s *system) recoverFrom(f failure) {
	s.log.Error("system tier failed", "step", f.step, "attempt", s.attempt, "err", f.cause)
	next, ok := s.attempt.next(f, s.config.path != "", time.Since(s.started))
	remedy := "starting " + string(next)
	if !ok {
		remedy = "see " + layout.SystemLog + " from the rescue shell"
	}
	s.announce(kmsg.Failure("system-docker/"+f.step, f.cause, remedy))
	for {
		if !ok {
			s.rescue()
			next = again
		}
		err := s.restart(next)
		s.announce(kmsg.Failure("system-docker/restart", err, "use the rescue shell"))
		ok = false
	}
}

// restartLimit bounds the stop of what is left of a failed attempt.
const restartLimit = 15 * time.Second

// restart runs PID 1 again. It returns only when that fails.
func (s *system) restart(a attempt) error {
	for _, st := range []endStep{
		{name: "services", limit: restartLimit, do: s.stopOrchestrator},
		{name: "daemon", limit: restartLimit, do: s.stopDaemon},
		{name: "containerd", limit: restartLimit, do: s.stopContainerd},
	} {
		if err := s.bounded(st); err != nil {
			s.log.Warn("left over from the last attempt", "what", st.name, "err", err)
		}
	}
	switch a {
	case freshStore:
		// If this fails, a full or read-only disk may be why everything does.
		if err := setAside(layout.SystemDataRoot, time.Now()); err != nil {
			s.log.Error("set the damaged store aside", "err", err)
		}
	case inMemory:
		if err := coverWithMemory(layout.SystemDataRoot); err != nil {
			return err
		}
	}
	// By this path, for the kernel takes the process's name from it.
	path := filepath.Join(layout.EngineBin, "dockerd")
	env := append(without(os.Environ(), attemptEnv), attemptEnv+"="+string(a))
	return fmt.Errorf("exec %s: %w", path, syscall.Exec(path, []string{layout.SystemInit}, env))
}

func without(env []string, name string) []string {
	var rest []string
	for _, kv := range env {
		if !strings.HasPrefix(kv, name+"=") {
			rest = append(rest, kv)
		}
	}
	return rest
}

// setAside renames dir for a later look at what is wrong with it. Only the
// latest is kept: nothing in it is missed, the OS makes its images and
// containers again.
func setAside(dir string, now time.Time) error {
	const infix = ".damaged-"
	old, err := filepath.Glob(dir + infix + "*")
	if err != nil {
		return err
	}
	for _, path := range old {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	err = os.Rename(dir, dir+infix+now.UTC().Format("20060102T150405"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// coverWithMemory mounts a tmpfs on dir. Layers are links, so a store takes
// little of it.
func coverWithMemory(dir string) error {
	if err := os.MkdirAll(dir, 0o710); err != nil {
		return fmt.Errorf("place for a store in memory: %w", err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0710,size=25%"); err != nil {
		return fmt.Errorf("mount tmpfs on %s: %w", dir, err)
	}
	return nil
}

// rescue gives people a shell on each console until one of them leaves it,
// which means: try again. Orders to end the machine are carried out.
func (s *system) rescue() {
	s.announce(`bulkhead: rescue shell: "exit" starts the system tier again, "reboot -f" the machine`)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	left := make(chan struct{}, 1)
	for _, name := range kmsg.Consoles() {
		if name == "tty0" { // stands for the terminal in front
			name = "tty1"
		}
		s.guard("rescue on "+name, func() {
			if err := s.shell(ctx, "/dev/"+name); err != nil {
				s.log.Warn("no rescue shell", "console", name, "err", err)
				return
			}
			select {
			case left <- struct{}{}:
			default:
			}
		})
	}
	select {
	case <-left:
	case a := <-s.signals.requests:
		s.end(a)
	}
}

// shortestShell is how long a shell runs that had a person at it. One that
// ends sooner had a console without input.
const shortestShell = time.Second

// shell runs a root shell on the terminal until it is left.
func (s *system) shell(ctx context.Context, path string) error {
	tty, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	defer tty.Close()
	// The daemon needs the umask 0, for the whole process.
	cmd := exec.CommandContext(ctx, "/bin/bash", "-c", "umask 022; exec /bin/bash --norc -i")
	cmd.Dir = "/"
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.Env = append(without(os.Environ(), "PATH"),
		"HOME=/root", "TERM=linux", `PS1=rescue:\w# `,
		// halt, poweroff, reboot and ros are in our own layer.
		"PATH="+os.Getenv("PATH")+":"+layout.Root+"/ros/sbin:"+layout.Root+"/ros/bin")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	start := time.Now()
	if err := s.children.start(cmd, oomDefault); err != nil {
		return err
	}
	// How the shell ended does not matter.
	_ = s.children.wait(cmd)
	if time.Since(start) < shortestShell {
		return errors.New("the shell ended at once")
	}
	return ctx.Err()
}
