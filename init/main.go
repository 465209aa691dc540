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
	"github.com/bulkhead-os/bulkhead/internal/power"
	"github.com/bulkhead-os/bulkhead/internal/version"
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

// obeySignals ends the boot when the commands poweroff, reboot and halt ask PID 1
// for it, here from a rescue shell. Ctrl-Alt-Del restarts without asking until
// the daemon is PID 1.
func (b *boot) obeySignals() {
	received := make(chan os.Signal, 1)
	signal.Notify(received, power.EndSignals()...)
	for s := range received {
		if action, ok := power.ForSignal(s.(syscall.Signal)); ok {
			b.end(action)
		}
	}
}
