package poweroff

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

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
		{"shutdown", request{action: power.PowerOff}},
		{"shutdown -h now", request{action: power.PowerOff}},
		{"shutdown -hP now", request{action: power.PowerOff}},
		{"shutdown -r +0", request{action: power.Reboot}},
		{"shutdown -H", request{action: power.Halt}},
		{"shutdown -rf now", request{action: power.Reboot, force: true}},
		{"shutdown -h -P +0 hypervisor initiated shutdown", request{action: power.PowerOff}},
		{"shutdown now -r", request{action: power.Reboot}},
	}
	for _, tt := range tests {
		t.Run(tt.line, func(t *testing.T) {
			got, err := parse(strings.Fields(tt.line))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(request{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, line := range []string{
		"", "poweroff now", "reboot -x", "shutdown +5", "shutdown 23:00", "shutdown -c",
		"shutdown bye", "shutdown -k",
	} {
		if got, err := parse(strings.Fields(line)); err == nil {
			t.Errorf("parse(%q) = %+v; want an error", line, got)
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
		{name: "help", line: "shutdown --help", code: 0, want: "shutdown -h now"},
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
				proc: proc,
				sync: func() { out.WriteString("sync ") },
				now:  func(a power.Action) error { out.WriteString("now " + string(a)); return nil },
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
