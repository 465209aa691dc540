// Package poweroff is the halt, poweroff, reboot and shutdown command. It asks
// PID 1 for the end of the system; what happens then is PID 1's business
// (sysdocker/pid1).
package poweroff

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

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
	return run(names, machine{proc: "/proc", kill: unix.Kill, now: power.Now, sync: unix.Sync}, os.Stdout, os.Stderr)
}

// A machine is what the command acts on.
type machine struct {
	proc string
	kill func(pid int, sig syscall.Signal) error
	now  func(power.Action) error
	sync func()
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
	if err := m.do(req); err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", args[0], err)
		return exitFailed
	}
	return exitDone
}

func (m machine) do(req request) error {
	if req.force {
		m.sync()
		return m.now(req.action)
	}
	if err := m.checkInit(); err != nil {
		return err
	}
	err := m.kill(1, req.action.Signal())
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("signal PID 1: %w; run it as root", err)
	}
	if err != nil {
		return fmt.Errorf("signal PID 1: %w", err)
	}
	return nil
}

// initName is argv[0] of Bulkhead's PID 1, the name that /init calls it by.
const initName = "system-dockerd"

// checkInit makes sure that PID 1 is ours. In a container with a PID namespace
// of its own it is some other program, which would take the signal in its own way.
func (m machine) checkInit() error {
	cmdline, err := os.ReadFile(filepath.Join(m.proc, "1", "cmdline"))
	if err != nil {
		return err
	}
	argv0, _, _ := bytes.Cut(cmdline, []byte{0})
	if filepath.Base(string(argv0)) != initName {
		return fmt.Errorf("PID 1 is %q, not Bulkhead's system Docker; run this on the host or in a container with its PID namespace", argv0)
	}
	return nil
}

func usage(name string) string {
	if name == "shutdown" {
		return `Usage: shutdown [-h|-P|-r|-H] [-f] [now|+0 [MESSAGE]]

Stop every service and container in order, then power the machine off.
It always happens now; other times are refused. A message is not shown.

  -h, -P, --poweroff  power off (default)
  -r, --reboot        restart
  -H, --halt          stop the processor, leave the power on
  -f, --force         do not stop anything: write file systems back and go
      --help          show this text

Examples:
  shutdown -h now     power off
  shutdown -r now     restart
`
	}
	return fmt.Sprintf(`Usage: %[1]s [-f] [--halt|-p|--reboot]

Stop every service and container in order, then %[1]s the machine.

  -f, --force     do not stop anything: write file systems back and go
      --halt      stop the processor, leave the power on
  -p, --poweroff  power off
      --reboot    restart
      --help      show this text

Examples:
  %[1]s           stop everything within its time limits first
  %[1]s -f        when a stop hangs and you cannot wait for its limit
`, name)
}
