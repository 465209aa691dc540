package power

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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

// A relative time holds when the clock is set, a time of day follows it.
func TestScheduleAndTheClock(t *testing.T) {
	at := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	later := at.Add(20 * 365 * 24 * time.Hour)
	if got := (Schedule{At: at, Uptime: 100}).Left(later, 40); got != time.Minute {
		t.Errorf("relative: %v; want 1m", got)
	}
	if got := (Schedule{At: at}).Left(at.Add(-time.Hour), 40); got != time.Hour {
		t.Errorf("time of day: %v; want 1h", got)
	}
}

func TestSessions(t *testing.T) {
	proc := t.TempDir()
	for pid, stat := range map[string]string{
		"1":  "1 (system-dockerd) S 0 1 1 0 -1 4194560",
		"20": "20 (bash) S 19 20 20 34816 20 4194304",
		"21": "21 (vi) S 20 21 20 34816 21 4194304",
		"30": "30 (sudo) S 29 30 30 34817 30 4194304",
		"40": "40 (a) b) S 39 40 40 34818 40 4194304",
	} {
		if err := os.Mkdir(filepath.Join(proc, pid), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(proc, pid, "stat"), []byte(stat), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := map[uint64]bool{34816: true, 34818: true}
	if diff := cmp.Diff(want, sessions(proc)); diff != "" {
		t.Error(diff)
	}
}
