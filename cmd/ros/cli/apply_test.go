package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-os/bulkhead/cmd/ros/apply"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
	"github.com/bulkhead-os/bulkhead/os-config/conffile"
)

func TestConfigApply(t *testing.T) {
	p, file := configPlaces(t, machineText)
	var did []apply.Step
	broken := map[apply.Step]error{}
	p.steps = func(since []osconfig.Config, wanted osconfig.Config) func(context.Context, apply.Step) error {
		return func(_ context.Context, s apply.Step) error {
			if since[len(since)-1].Hostname == wanted.Hostname && len(since) == 1 {
				t.Errorf("steps have the host name %q of now as that of before", wanted.Hostname)
			}
			did = append(did, s)
			return broken[s]
		}
	}
	run := func(args ...string) (int, string, string) {
		did = nil
		return rosInput(p, "", append([]string{"config", "apply"}, args...)...)
	}
	set := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(what string, code, wantCode int, stdout, wantOut string, steps ...apply.Step) {
		t.Helper()
		if code != wantCode || !strings.Contains(stdout, wantOut) {
			t.Errorf("%s: exit code %d, want %d; output:\n%swant in it:\n%s", what, code, wantCode, stdout, wantOut)
		}
		if diff := cmp.Diff(steps, did); diff != "" {
			t.Errorf("%s: steps (-want +got):\n%s", what, diff)
		}
	}

	code, _, stderr := run()
	expect("before the boot has ended", code, exitFailed, stderr, "still reading its configuration")
	for _, dir := range []string{layout.BootConfig, layout.AppliedConfig} {
		if err := conffile.Snapshot(p.root, filepath.Join(p.root, dir)); err != nil {
			t.Fatal(err)
		}
	}
	code, stdout, _ := run()
	expect("nothing", code, exitOK, stdout, "Nothing to do")

	set(strings.Replace(machineText, "web1", "web2", 1) + "  autologin: [tty1]\n")
	code, stdout, _ = run("--dry-run")
	expect("dry run", code, exitOK, stdout, "hostname            changes now      the machine takes the name")
	code, stdout, _ = run("--json")
	expect("apply", code, exitOK, stdout, `"applied": true,`+"\n  \"reboot\": true", apply.Hostname)
	code, stdout, _ = run()
	expect("what still needs a reboot", code, exitOK, stdout, "rancher.autologin   needs a reboot")

	set(machineText)
	broken[apply.Hostname] = errors.New("no")
	code, _, stderr = run()
	expect("a step fails", code, exitFailed, stderr, "ros: hostname: no\n", apply.Hostname)
	set(strings.Replace(machineText, "web1", "web2", 1) + "  autologin: [tty1]\n")
	code, stdout, _ = run("--dry-run")
	expect("back to what was in force before", code, exitOK, stdout, "hostname            changes now")
	set(machineText)
	delete(broken, apply.Hostname)
	code, _, _ = run()
	expect("it is tried again", code, exitOK, "", "", apply.Hostname)

	set("hostnam: web3\nrunc: [a]\n")
	code, _, stderr = run()
	expect("a mistake", code, exitFailed, stderr, layout.CloudConfig+":1:1: hostnam: unknown key; did you mean hostname?\n")
	if !strings.Contains(stderr, ":2:1: runc") || !strings.Contains(stderr, "nothing is applied") {
		t.Errorf("a mistake: %s", stderr)
	}
	if text := stdout + stderr; strings.Contains(text, "hunter2") {
		t.Errorf("a password in the output:\n%s", text)
	}
	left, err := filepath.Glob(filepath.Join(p.root, layout.RunDir, "config", "*"))
	if err != nil || len(left) != 2 {
		t.Errorf("left over: %v, %v; want the two records", left, err)
	}
}
