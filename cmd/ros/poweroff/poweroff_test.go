package poweroff

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/bulkhead-os/bulkhead/internal/power"
)

func TestParse(t *testing.T) {
	tests := []struct {
		line string
		want request
	}{
		{"poweroff", request{action: power.PowerOff}},
		{"reboot -f", request{action: power.Reboot, force: true}},
		{"halt", request{action: power.Halt}},
		{"halt -p", request{action: power.PowerOff}},
		{"reboot --poweroff", request{action: power.PowerOff}},
		{"poweroff --help", request{action: power.PowerOff, help: true}},
		{"reboot -d", request{action: power.Reboot}},
		{"poweroff --no-wall", request{action: power.PowerOff}},
		{"halt -w", request{action: power.Halt, nothing: true}},
		{"shutdown", request{action: power.PowerOff, when: usual}},
		{"shutdown -c", request{action: power.PowerOff, when: usual, cancel: true}},
		{"shutdown -c never mind", request{action: power.PowerOff, when: usual, cancel: true, message: "never mind"}},
		{"shutdown --show", request{action: power.PowerOff, when: usual, show: true}},
		{"shutdown -r 0 by a playbook", request{action: power.Reboot, message: "by a playbook"}},
		{"shutdown +1 going down", request{action: power.PowerOff, when: when{delay: time.Minute}, message: "going down"}},
		{"shutdown -P 90", request{action: power.PowerOff, when: when{delay: 90 * time.Minute}}},
		{"shutdown -rk 23:59", request{action: power.Reboot, when: when{clock: true, hour: 23, minute: 59}, warnOnly: true}},
		{"shutdown --no-wall +5 -- -x is gone", request{action: power.PowerOff, when: when{delay: 5 * time.Minute}, silent: true, message: "-x is gone"}},
		{"shutdown -h now", request{action: power.PowerOff}},
		{"shutdown -hP now", request{action: power.PowerOff}},
		{"shutdown -r +0", request{action: power.Reboot}},
		{"shutdown -H now", request{action: power.Halt}},
		{"shutdown -rf now", request{action: power.Reboot, force: true}},
		{"shutdown -h -P +0 hypervisor initiated shutdown", request{action: power.PowerOff, message: "hypervisor initiated shutdown"}},
		{"shutdown now -r", request{action: power.Reboot}},
	}
	for _, tt := range tests {
		t.Run(tt.line, func(t *testing.T) {
			got, err := parse(strings.Fields(tt.line))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(request{}, when{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, line := range []string{
		"", "poweroff now", "reboot -x", "shutdown bye", "shutdown -x", "shutdown +1h", "shutdown 24:00", "shutdown -5", "shutdown ++5",
	} {
		if got, err := parse(strings.Fields(line)); err == nil {
			t.Errorf("parse(%q) = %+v; want an error", line, got)
		}
	}
}

func TestWhen(t *testing.T) {
	evening := time.Date(2026, 11, 30, 23, 30, 20, 0, time.UTC)
	for _, tt := range []struct {
		when when
		want time.Duration
	}{
		{when{}, 0},
		{when{delay: 5 * time.Minute}, 5 * time.Minute},
		{when{clock: true, hour: 23, minute: 59}, 28*time.Minute + 40*time.Second},
		{when{clock: true, hour: 23, minute: 30}, 24*time.Hour - 20*time.Second},
		{when{clock: true, hour: 0, minute: 5}, 34*time.Minute + 40*time.Second},
	} {
		if got := tt.when.after(evening); got != tt.want {
			t.Errorf("%+v from %v: in %v; want %v", tt.when, evening, got, tt.want)
		}
	}
}

func TestRun(t *testing.T) {
	tests := []struct {
		name, line, init string
		killErr          error
		code             int
		want             string // what was done, or part of the message
	}{
		{name: "asks PID 1", line: "reboot", init: "system-dockerd\x00--x\x00", want: "kill 1 39"},
		{name: "force", line: "poweroff -f", init: "anything", want: "sync now poweroff"},
		{name: "container", line: "poweroff", init: "/bin/sh\x00", code: 1, want: `PID 1 is "/bin/sh"`},
		{name: "not root", line: "halt", init: "system-dockerd", killErr: unix.EPERM, code: 1, want: "run it as root"},
		{name: "usage", line: "reboot now", init: "system-dockerd", code: 2, want: "--help"},
		{name: "later", line: "shutdown -r +2 new kernel", init: "system-dockerd", want: `kill 1 44tell "new kernel\nThe machine will reboot at Mon 2026-11-30 12:02:00 UTC!" The machine will reboot at Mon 2026-11-30 12:02:00 UTC; shutdown -c cancels it.`},
		{name: "later, told to nobody", line: "shutdown --no-wall 23:59", init: "system-dockerd", want: "kill 1 44The machine will power off at Mon 2026-11-30 23:59:00 UTC"},
		{name: "only told", line: "shutdown -k 23:59", want: `tell "The machine will power off at Mon 2026-11-30 23:59:00 UTC!"`},
		{name: "later in a container", line: "shutdown +5", init: "/bin/sh\x00", code: 1, want: `PID 1 is "/bin/sh"`},
		{name: "nothing to cancel", line: "shutdown -c", want: ""},
		{name: "nothing to show", line: "shutdown --show", code: 1, want: "no end of the machine is scheduled"},
		{name: "by force, later", line: "shutdown -f +5", code: 1, want: "say now"},
		{name: "help", line: "shutdown --help", code: 0, want: "shutdown -r +10"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			proc := t.TempDir()
			if err := os.MkdirAll(filepath.Join(proc, "1"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(proc, "1", "cmdline"), []byte(tt.init), 0o644); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			m := machine{
				proc:     proc,
				sync:     func() { out.WriteString("sync ") },
				end:      func(a power.Action) error { out.WriteString("now " + string(a)); return nil },
				schedule: filepath.Join(proc, "scheduled"),
				time:     func() time.Time { return time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC) },
				uptime:   func() float64 { return 100 },
				tell:     func(text string) { fmt.Fprintf(&out, "tell %q ", text) },
				kill: func(pid int, sig syscall.Signal) error {
					if tt.killErr != nil {
						return tt.killErr
					}
					fmt.Fprintf(&out, "kill %d %d", pid, int(sig))
					return nil
				},
			}
			if got := run(strings.Fields(tt.line), m, &out, &out); got != tt.code {
				t.Errorf("exit code %d; want %d (output %q)", got, tt.code, out.String())
			}
			if !strings.Contains(out.String(), tt.want) {
				t.Errorf("output %q; want %q in it", out.String(), tt.want)
			}
		})
	}
}
