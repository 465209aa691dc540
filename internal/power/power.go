// Package power holds the names by which programs ask PID 1 for an end of the
// system, at once or later: actions, their signals, and the schedule. The
// command that asks is cmd/ros/poweroff; what happens then is PID 1's business
// (sysdocker/pid1).
package power

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// An Action is one way to end the running system. Its text is the content of
// the milestone Shutdown.
type Action string

const (
	// Halt stops the processor and leaves the power on.
	Halt     Action = "halt"
	PowerOff Action = "poweroff"
	Reboot   Action = "reboot"
)

// Real-time signals that PID 1 understands as an order, numbered as systemd's
// (systemd(1), "Signals"). The base is glibc's SIGRTMIN: the C library keeps
// the kernel's first two for itself, and `kill -RTMIN+4 1` counts from there.
const (
	sigRTMin = syscall.Signal(34)

	SigHalt     = sigRTMin + 3
	SigPowerOff = sigRTMin + 4
	SigReboot   = sigRTMin + 5
)

// Signal returns the signal that asks PID 1 for a.
func (a Action) Signal() syscall.Signal {
	switch a {
	case Halt:
		return SigHalt
	case Reboot:
		return SigReboot
	default:
		return SigPowerOff
	}
}

// EndSignals are the signals to PID 1 that ask for an end of the system.
func EndSignals() []os.Signal {
	return []os.Signal{unix.SIGTERM, unix.SIGINT, SigHalt, SigPowerOff, SigReboot}
}

// ForSignal returns what a signal to PID 1 asks for. SIGTERM is a power-off
// and SIGINT, which the kernel sends for Ctrl-Alt-Del, a reboot.
func ForSignal(s syscall.Signal) (Action, bool) {
	switch s {
	case SigHalt:
		return Halt, true
	case SigPowerOff, unix.SIGTERM:
		return PowerOff, true
	case SigReboot, unix.SIGINT:
		return Reboot, true
	}
	return "", false
}

// Now ends the system at once, without stopping anything: reboot(2). It
// returns only on failure. Callers sync first.
func Now(a Action) error {
	cmd := unix.LINUX_REBOOT_CMD_POWER_OFF
	switch a {
	case Halt:
		cmd = unix.LINUX_REBOOT_CMD_HALT
	case Reboot:
		cmd = unix.LINUX_REBOOT_CMD_RESTART
	}
	if err := unix.Reboot(cmd); err != nil {
		return fmt.Errorf("reboot(2) for %s: %w", a, err)
	}
	return nil
}
