package power

import (
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestSignalsMatchSystemd(t *testing.T) {
	for action, want := range map[Action]syscall.Signal{Halt: 37, PowerOff: 38, Reboot: 39} {
		if got := action.Signal(); got != want {
			t.Errorf("%s.Signal() = %d; want %d", action, got, want)
		}
		if got, ok := ForSignal(want); !ok || got != action {
			t.Errorf("ForSignal(%d) = %s, %v; want %s", want, got, ok, action)
		}
	}
	if _, ok := ForSignal(unix.SIGHUP); ok {
		t.Error("SIGHUP ends the system; it must reload the daemon")
	}
}
