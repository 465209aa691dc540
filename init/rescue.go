package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/bulkhead-os/bulkhead/internal/kmsg"
	"github.com/bulkhead-os/bulkhead/internal/power"
)

// A terminal is an open console.
type terminal interface {
	io.ReadWriteCloser
	SetReadDeadline(t time.Time) error
}

// rescue lets a person repair what made a step fail, and returns when the step
// shall be tried again. With the kernel parameter panic=N, as with a kernel
// panic, a machine that no one attends to reboots after N seconds.
func (b *boot) rescue(s step) {
	b.sys.Announce(fmt.Sprintf("bulkhead: rescue on /dev/console: leave it with \"exit\" to try %s again", s.name))
	t, err := b.sys.Console()
	if err != nil {
		b.sys.Log(kmsg.Error, "init: no console for rescue: "+err.Error())
		waitForCtrlAltDel()
	}
	defer t.Close()
	if n, err := strconv.Atoi(b.params.Get("panic")); err == nil && n > 0 {
		if !b.attended(t, time.Duration(n)*time.Second) {
			b.end(power.Reboot)
		}
	}
	if !b.entered || b.shell() != nil {
		b.prompt(t)
	}
}

// attended waits for someone to press Enter.
func (b *boot) attended(t terminal, limit time.Duration) bool {
	fmt.Fprintf(t, "Reboot in %v. Press Enter to stop that. ", limit)
	if err := t.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return true
	}
	_, err := bufio.NewReader(t).ReadString('\n')
	_ = t.SetReadDeadline(time.Time{})
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

// shortestShell is how long a shell runs that had a person at it. One that
// ends sooner had a console without input; starting it again would never end.
const shortestShell = time.Second

// shell runs the system image's shell. An exit status is no error.
func (b *boot) shell() error {
	start := time.Now()
	env := append([]string{"HOME=/root", "TERM=linux", "PS1=rescue:\\w# "}, environment...)
	if err := b.sys.Shell([]string{"/bin/bash", "--norc", "-i"}, env); err != nil {
		b.sys.Log(kmsg.Error, "init: rescue shell: "+err.Error())
		return err
	}
	if time.Since(start) < shortestShell {
		return errors.New("the shell ended at once")
	}
	return nil
}

// recovery opens the shell before anything of the state is used, when the
// kernel parameter rancher.recovery asks for it.
func recovery(_ context.Context, b *boot) error {
	if !b.params.Bool("rancher.recovery") {
		return nil
	}
	b.sys.Announce("bulkhead: recovery shell on /dev/console, state is in /state; \"exit\" goes on with the boot")
	return b.shell()
}

const promptHelp = `This is not a shell, only a few commands:
  log       the end of the kernel log
  disks     block devices and what is on them
  exit      try the failed step again
  reboot    restart the machine
  poweroff  switch it off
`

// prompt is what there is to rescue with while the initramfs is the root, or
// where the shell cannot run. It returns when the failed step shall be tried again.
func (b *boot) prompt(t terminal) {
	fmt.Fprint(t, promptHelp)
	in := bufio.NewReader(t)
	for {
		fmt.Fprint(t, "rescue> ")
		line, err := in.ReadString('\n')
		if err != nil {
			// No one can type here.
			waitForCtrlAltDel()
		}
		switch strings.TrimSpace(line) {
		case "":
		case "log":
			fmt.Fprintln(t, lastLines(b.sys.KernelLog(), 40))
		case "disks":
			devices, err := b.sys.Devices()
			if err != nil {
				fmt.Fprintln(t, err)
			}
			for _, d := range devices {
				fmt.Fprintln(t, d)
			}
		case "exit", "retry":
			return
		case "reboot":
			b.end(power.Reboot)
		case "poweroff":
			b.end(power.PowerOff)
		default:
			fmt.Fprint(t, promptHelp)
		}
	}
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// end ends this boot, and the machine's run.
func (b *boot) end(action power.Action) {
	if err := b.sys.End(action); err != nil {
		b.sys.Announce("bulkhead: " + err.Error())
	}
}

// waitForCtrlAltDel blocks: the kernel restarts the machine on the keys, and
// PID 1 must not end.
func waitForCtrlAltDel() { select {} }
