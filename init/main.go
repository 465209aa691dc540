// Command init is the first process, /init in the initramfs. It brings a
// machine from the bare kernel to the point where the system Docker daemon can
// take over as PID 1: kernel file systems, drivers of the boot medium, the
// read-only system image, the state. bootSteps is the order of it all. It
// knows nothing of Docker, of the network and of cloud-config files.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/bulkhead-os/bulkhead/internal/kmsg"
	"github.com/bulkhead-os/bulkhead/internal/version"
	"golang.org/x/sys/unix"
)

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "init: this is the first process of Bulkhead's initramfs; there is nothing to do for it here")
		os.Exit(2)
	}
	// The kernel panics when PID 1 ends.
	defer func() {
		if r := recover(); r != nil {
			_ = kmsg.Announce(fmt.Sprintf("bulkhead: FAILED step=init cause=%q remedy=%q", fmt.Sprint(r), "press Ctrl-Alt-Del"))
			_ = kmsg.Write(kmsg.Error, string(debug.Stack()))
		}
		waitForCtrlAltDel()
	}()
	sys, err := newLinux()
	if err != nil {
		panic(err)
	}
	b := newBoot(sys)
	go b.obeySignals()
	b.run(context.Background(), bootSteps)
}

func newBoot(sys system) *boot {
	return &boot{sys: sys, mounted: map[string]bool{}, built: version.Built()}
}

// powerSignals are what the commands poweroff, reboot and halt send to PID 1,
// here from a rescue shell. Ctrl-Alt-Del restarts without asking until the
// daemon is PID 1.
var powerSignals = map[os.Signal]int{
	unix.SIGTERM:       unix.LINUX_REBOOT_CMD_POWER_OFF,
	unix.SIGINT:        unix.LINUX_REBOOT_CMD_RESTART,
	syscall.Signal(37): unix.LINUX_REBOOT_CMD_HALT, // SIGRTMIN+3, as in systemd
	syscall.Signal(38): unix.LINUX_REBOOT_CMD_POWER_OFF,
	syscall.Signal(39): unix.LINUX_REBOOT_CMD_RESTART,
}

func (b *boot) obeySignals() {
	received := make(chan os.Signal, 1)
	for s := range powerSignals {
		signal.Notify(received, s)
	}
	for s := range received {
		b.end(powerSignals[s])
	}
}
