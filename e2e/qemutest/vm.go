package qemutest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A VM is a running machine.
type VM struct {
	Console *Console
	Monitor *Monitor
	// Dir holds the machine's files: console.log, qemu.log, sockets.
	Dir string
	// SSHAddr is the host address that leads to port 22 of the guest.
	SSHAddr string

	args []string
	// serial is the console's connection, for input.
	serial net.Conn
	cmd    *exec.Cmd

	// ctx ends with the machine; its cause says why.
	ctx    context.Context
	cancel context.CancelCauseFunc
	exited chan struct{}

	mu    sync.Mutex // guards what follows
	allow []*regexp.Regexp
}

// errMachineEnd is the cause of waits that end because QEMU ended.
var errMachineEnd = errors.New("QEMU has ended")

// Start starts a machine whose files go to dir, which must exist. A console
// line that means trouble, unless an allow pattern matches it, ends every
// wait on the machine. The machine lives until it is powered off, killed, or
// ctx ends.
func Start(ctx context.Context, dir string, o Options, allow ...*regexp.Regexp) (*VM, error) {
	if o.Name == "" {
		o.Name = "vm"
	}
	if o.UEFI {
		if err := o.firmware().copyVars(filepath.Join(dir, uefiVars)); err != nil {
			return nil, err
		}
	}
	for _, socket := range []string{consoleSocket, monitorSocket, agentSocket} {
		if err := os.RemoveAll(filepath.Join(dir, socket)); err != nil {
			return nil, err
		}
	}
	vm := &VM{Dir: dir, args: arguments(o, Accel(), dir), exited: make(chan struct{}), allow: allow}
	if err := vm.spawn(); err != nil {
		return nil, err
	}
	vm.ctx, vm.cancel = context.WithCancelCause(ctx)
	go vm.reap()
	vm.Console = NewConsole(vm.judge)
	if err := vm.connect(o); err != nil {
		vm.cancel(err)
		<-vm.exited
		return nil, vm.explain("start", 0, err)
	}
	return vm, nil
}

// judge looks at a line of the console.
func (vm *VM) judge(line string) {
	if err := scan(line, vm.allowed()); err != nil {
		vm.cancel(err)
	}
}

func (vm *VM) allowed() []*regexp.Regexp {
	vm.mu.Lock()
	defer vm.mu.Unlock()
	return vm.allow
}

// Tolerate makes no trouble of console lines that match one of patterns until
// end is called.
func (vm *VM) Tolerate(patterns ...*regexp.Regexp) (end func()) {
	before := vm.allowed()
	set := func(allow []*regexp.Regexp) {
		vm.mu.Lock()
		defer vm.mu.Unlock()
		vm.allow = allow
	}
	set(slices.Concat(before, patterns))
	return func() { set(before) }
}

// spawn starts QEMU in a session of its own, so that a Ctrl-C meant for the
// caller does not reach it.
func (vm *VM) spawn() error {
	log, err := os.OpenFile(filepath.Join(vm.Dir, qemuLog), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	fmt.Fprintln(log, commandLine(vm.args))
	vm.cmd = exec.Command(Binary, vm.args...)
	vm.cmd.Stdout, vm.cmd.Stderr = log, log
	vm.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := vm.cmd.Start(); err != nil {
		return fmt.Errorf("start QEMU (Debian package qemu-system-x86): %w", err)
	}
	return nil
}

// reap waits for QEMU's end and kills it when the machine's context ends for
// a reason of its own (trouble does not kill: the machine may be looked at).
func (vm *VM) reap() {
	ended := make(chan error, 1)
	go func() { ended <- vm.cmd.Wait() }()
	select {
	case <-ended:
	case <-vm.ctx.Done():
		if err := context.Cause(vm.ctx); !isTrouble(err) {
			_ = vm.cmd.Process.Kill()
		}
		<-ended
	}
	vm.cancel(errMachineEnd)
	close(vm.exited)
}

func isTrouble(err error) bool {
	var trouble *TroubleError
	return errors.As(err, &trouble)
}

// connect opens console and monitor, brings the state that the machine starts
// from, if any, and lets the processors run.
func (vm *VM) connect(o Options) error {
	ctx, cancel := context.WithTimeout(vm.ctx, Scaled(5*time.Second))
	defer cancel()
	var err error
	if vm.serial, err = dialUnix(ctx, filepath.Join(vm.Dir, consoleSocket)); err != nil {
		return err
	}
	if vm.Monitor, err = DialMonitor(ctx, filepath.Join(vm.Dir, monitorSocket)); err != nil {
		return err
	}
	go vm.Console.drain(vm.serial)
	vm.SSHAddr = fmt.Sprintf("127.0.0.1:%d", o.SSHPort)
	if o.SSHPort == 0 {
		if vm.SSHAddr, err = vm.forwarded(ctx, 22); err != nil {
			return err
		}
	}
	if o.State != "" {
		if err := vm.Monitor.load(ctx, o.State); err != nil {
			return err
		}
	}
	return vm.Monitor.Execute(ctx, "cont", nil, nil)
}

// Save writes the machine's state to a file, from which Options.State starts
// others. The machine stands still from then on.
func (vm *VM) Save(path string) error {
	return vm.Await("the machine's state in "+path, time.Minute, func(ctx context.Context) error {
		return vm.Monitor.save(ctx, path)
	})
}

// dialUnix connects to a socket that QEMU is about to make.
func dialUnix(ctx context.Context, path string) (net.Conn, error) {
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
		if err == nil {
			return conn, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", err, context.Cause(ctx))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Forward makes a port of the guest reachable and returns the host address,
// whose port the kernel has chosen.
func (vm *VM) Forward(ctx context.Context, guestPort int) (string, error) {
	out, err := vm.Monitor.human(ctx, fmt.Sprintf("hostfwd_add net0 tcp:127.0.0.1:0-:%d", guestPort))
	if err == nil && strings.TrimSpace(out) != "" {
		err = errors.New(strings.TrimSpace(out))
	}
	if err != nil {
		return "", fmt.Errorf("forward port %d: %w", guestPort, err)
	}
	return vm.forwarded(ctx, guestPort)
}

// forwarded asks QEMU which host port leads to a port of the guest.
func (vm *VM) forwarded(ctx context.Context, guestPort int) (string, error) {
	out, err := vm.Monitor.human(ctx, "info usernet")
	if err != nil {
		return "", err
	}
	return parseForward(out, guestPort)
}

// forwardLine matches "TCP[HOST_FORWARD]  3  127.0.0.1 42357  10.0.2.15  22  0  0".
var forwardLine = regexp.MustCompile(`HOST_FORWARD\]\s+\d+\s+(\S+)\s+(\d+)\s+\S+\s+(\d+)\s`)

// parseForward finds the host address for a port of the guest.
func parseForward(usernet string, guestPort int) (string, error) {
	for _, m := range forwardLine.FindAllStringSubmatch(usernet, -1) {
		if m[3] == fmt.Sprint(guestPort) {
			return m[1] + ":" + m[2], nil
		}
	}
	return "", fmt.Errorf("no forwarding to port %d in %q", guestPort, usernet)
}

// Await runs wait with a deadline, which is scaled, and turns its failure into
// an error that tells everything about the machine.
func (vm *VM) Await(name string, deadline time.Duration, wait func(ctx context.Context) error) error {
	start := time.Now()
	ctx, cancel := context.WithTimeoutCause(vm.ctx, Scaled(deadline), fmt.Errorf("not within %s", Scaled(deadline)))
	defer cancel()
	if err := wait(ctx); err != nil {
		return vm.explain(name, time.Since(start), err)
	}
	return nil
}

// AwaitConsole waits for a console line from mark on.
func (vm *VM) AwaitConsole(name string, deadline time.Duration, mark int, re *regexp.Regexp) (match []string, err error) {
	err = vm.Await(name, deadline, func(ctx context.Context) error {
		match, err = vm.Console.Wait(ctx, mark, re)
		return err
	})
	return match, err
}

// AwaitSSH waits until a login works.
func (vm *VM) AwaitSSH(deadline time.Duration, login Login) (client *Client, err error) {
	err = vm.Await("ssh login as "+login.User, deadline, func(ctx context.Context) error {
		client, err = waitSSH(ctx, vm.SSHAddr, login)
		return err
	})
	return client, err
}

// AcceptsSSH reports whether the server takes a login. An error means that it
// does not decide.
func (vm *VM) AcceptsSSH(login Login) (accepted bool, err error) {
	err = vm.Await("answer to an ssh login as "+login.User, 30*time.Second, func(ctx context.Context) error {
		accepted, err = acceptsSSH(ctx, vm.SSHAddr, login)
		return err
	})
	return accepted, err
}

// AwaitExit waits until QEMU has ended and returns the reason that it gave.
func (vm *VM) AwaitExit(name string, deadline time.Duration) (e Event, err error) {
	start := time.Now()
	// Not vm.ctx: it ends with QEMU, which is what is awaited here.
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(vm.ctx), Scaled(deadline), fmt.Errorf("not within %s", Scaled(deadline)))
	defer cancel()
	stop := context.AfterFunc(vm.ctx, func() {
		if vm.Trouble() != nil {
			cancel()
		}
	})
	defer stop()
	if e, err = vm.Monitor.Wait(ctx, 0, "SHUTDOWN"); err == nil {
		select {
		case <-vm.exited:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	if err != nil {
		return e, vm.explain(name, time.Since(start), err)
	}
	return e, nil
}

// Kill ends the machine as a power cut does.
func (vm *VM) Kill() {
	_ = vm.cmd.Process.Kill()
	<-vm.exited
}

// Serial returns the console's connection, for a caller that attaches a
// terminal and only writes to it.
func (vm *VM) Serial() io.Writer { return vm.serial }

// Exited is closed when QEMU has ended.
func (vm *VM) Exited() <-chan struct{} { return vm.exited }

// Trouble returns the trouble that the console told of, or nil.
func (vm *VM) Trouble() error {
	if err := context.Cause(vm.ctx); isTrouble(err) {
		return err
	}
	return nil
}

// MonitorSocket returns the monitor's socket of the machine with files in dir.
func MonitorSocket(dir string) string { return filepath.Join(dir, monitorSocket) }

// Running reports whether a machine with files in dir is running.
func Running(dir string) bool {
	conn, err := net.Dial("unix", MonitorSocket(dir))
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// A WaitError is a wait that failed, with what is needed to understand it.
type WaitError struct {
	What    string
	Waited  time.Duration
	Cause   error
	Tail    []string
	Command string
	Dir     string
}

func (e *WaitError) Unwrap() error { return e.Cause }

func (e *WaitError) Error() string {
	return fmt.Sprintf("%s: %v (waited %.1f s)\nlast console lines:\n  %s\nQEMU: %s\nfiles: %s",
		e.What, e.Cause, e.Waited.Seconds(), strings.Join(e.Tail, "\n  "), e.Command, e.Dir)
}

func (vm *VM) explain(what string, waited time.Duration, cause error) error {
	// The machine's own end explains more than "connection reset".
	if err := context.Cause(vm.ctx); err != nil && !errors.Is(cause, err) {
		cause = fmt.Errorf("%w (%w)", err, cause)
	}
	if errors.Is(cause, errMachineEnd) {
		// The first line of the log is the command.
		if log, err := os.ReadFile(filepath.Join(vm.Dir, qemuLog)); err == nil {
			_, said, _ := strings.Cut(string(log), "\n")
			cause = fmt.Errorf("%w: %s", cause, strings.TrimSpace(said))
		}
	}
	return &WaitError{What: what, Waited: waited, Cause: cause, Tail: vm.Console.Tail(40), Command: commandLine(vm.args), Dir: vm.Dir}
}
