package poweroff

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-os/bulkhead/internal/bootlog"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/power"
)

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// Main runs the command; args[0] says which of the four it is. It returns the
// exit code.
func Main(args []string) int {
	names := append([]string(nil), args...)
	if len(names) > 0 {
		names[0] = filepath.Base(names[0])
	}
	m := machine{
		proc: "/proc", schedule: layout.ShutdownSchedule,
		kill: unix.Kill, end: power.Now, sync: unix.Sync, time: time.Now, uptime: bootlog.Now,
		tell: func(text string) { power.Broadcast("/dev/pts", "/proc", text) },
	}
	return run(names, m, os.Stdout, os.Stderr)
}

// A machine is what the command acts on.
type machine struct {
	proc string
	// schedule is the file of an end that is still to come.
	schedule string
	kill     func(pid int, sig syscall.Signal) error
	end      func(power.Action) error
	sync     func()
	time     func() time.Time
	uptime   func() float64
	tell     func(text string)
}

func run(args []string, m machine, stdout, stderr io.Writer) int {
	req, err := parse(args)
	if err != nil {
		name := "power"
		if len(args) > 0 {
			name = args[0]
		}
		fmt.Fprintf(stderr, "%s: %v\nTry '%s --help'.\n", name, err, name)
		return exitUsage
	}
	if req.help {
		fmt.Fprint(stdout, usage(args[0]))
		return exitDone
	}
	if err := m.do(req, stdout); err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", args[0], err)
		return exitFailed
	}
	return exitDone
}

func (m machine) do(req request, out io.Writer) error {
	switch {
	case req.nothing:
		return nil
	case req.show:
		return m.show(out)
	case req.cancel:
		return m.cancel(req)
	case req.warnOnly:
		m.tell(m.plan(req).Notice())
		return nil
	case !req.when.now():
		return m.put(req, out)
	case req.force:
		m.sync()
		return m.end(req.action)
	}
	return m.signal(req.action.Signal())
}

// plan is the schedule that a request asks for.
func (m machine) plan(req request) power.Schedule {
	now := m.time()
	after := req.when.after(now)
	s := power.Schedule{Action: req.action, At: now.Add(after), Message: req.message, Silent: req.silent}
	if !req.when.clock {
		s.Uptime = m.uptime() + after.Seconds()
	}
	return s
}

// put has PID 1 end the machine later.
func (m machine) put(req request, out io.Writer) error {
	if req.force {
		return errors.New("--force does not wait: say now")
	}
	if err := m.checkInit(); err != nil {
		return err
	}
	s := m.plan(req)
	err := s.Write(m.schedule)
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w; run it as root", err)
	}
	if err != nil {
		return err
	}
	if err := m.signal(power.SigSchedule); err != nil {
		return errors.Join(err, os.Remove(m.schedule))
	}
	if !req.silent {
		m.tell(s.Notice())
	}
	fmt.Fprintf(out, "The machine will %s at %s; shutdown -c cancels it.\n", s.Action.Verb(), s.When())
	return nil
}

// cancel takes a scheduled end back. Without one there is nothing to do, as in
// Debian.
func (m machine) cancel(req request) error {
	s, err := power.ReadSchedule(m.schedule)
	if s == nil && err == nil {
		return nil
	}
	if err := os.Remove(m.schedule); err != nil {
		if errors.Is(err, fs.ErrPermission) {
			err = fmt.Errorf("%w; run it as root", err)
		}
		return err
	}
	if err := m.signal(power.SigSchedule); err != nil {
		return err
	}
	if !req.silent {
		m.tell(power.AsLine(req.message) + "The machine stays on: the end that was scheduled is cancelled.")
	}
	return nil
}

func (m machine) show(out io.Writer) error {
	s, err := power.ReadSchedule(m.schedule)
	if err != nil {
		return err
	}
	if s == nil {
		return errors.New("no end of the machine is scheduled")
	}
	fmt.Fprintf(out, "The machine will %s at %s; shutdown -c cancels it.\n", s.Action.Verb(), s.When())
	return nil
}

// signal sends an order to PID 1.
func (m machine) signal(sig syscall.Signal) error {
	if err := m.checkInit(); err != nil {
		return err
	}
	err := m.kill(1, sig)
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("signal PID 1: %w; run it as root", err)
	}
	if err != nil {
		return fmt.Errorf("signal PID 1: %w", err)
	}
	return nil
}

// checkInit makes sure that PID 1 is ours. In a container with a PID namespace
// of its own it is some other program, which would take the signal in its own way.
func (m machine) checkInit() error {
	cmdline, err := os.ReadFile(filepath.Join(m.proc, "1", "cmdline"))
	if err != nil {
		return err
	}
	argv0, _, _ := bytes.Cut(cmdline, []byte{0})
	if filepath.Base(string(argv0)) != layout.SystemInit {
		return fmt.Errorf("PID 1 is %q, not Bulkhead's system Docker; run this on the host or in a container with its PID namespace", argv0)
	}
	return nil
}

func usage(name string) string {
	if name == "shutdown" {
		return `Usage: shutdown [-h|-P|-r|-H] [-k] [-f] [--no-wall] [TIME [MESSAGE]]
       shutdown -c [MESSAGE]

Stop every service and container in order, then power the machine off.
TIME is now, +MINUTES, or HH:MM of the next 24 hours; without it, in a minute.
People who are logged in see a notice with the message.

  -h, -P, --poweroff  power off (default)
  -r, --reboot        restart
  -H, --halt          stop the processor, leave the power on
  -c                  cancel what is scheduled
      --show          show what is scheduled
  -k                  only tell people
      --no-wall       tell nobody
  -f, --force         with now: do not stop anything, write file systems back and go
      --help          show this text

Examples:
  shutdown now                  power off
  shutdown -r +10 "new kernel"  restart in ten minutes
  shutdown 23:30                power off this evening
  shutdown -c                   after all not
`
	}
	return fmt.Sprintf(`Usage: %[1]s [-f] [-w] [--halt|-p|--reboot]

Stop every service and container in order, then %[1]s the machine.

  -f, --force     do not stop anything: write file systems back and go
      --halt      stop the processor, leave the power on
  -p, --poweroff  power off
      --reboot    restart
  -w              do nothing: there are no records to write
      --help      show this text

-d, -n and --no-wall are taken and change nothing.

Examples:
  %[1]s           stop everything within its time limits first
  %[1]s -f        when a stop hangs and you cannot wait for its limit
`, name)
}
