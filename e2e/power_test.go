package e2e

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-os/bulkhead/e2e/qemutest"
)

// wholeConfig is what ros config set of one key makes of no file.
var wholeConfig = regexp.MustCompile(`^#cloud-config\nrancher:\n  environment:\n    CUT: "?\d+"?$`)

// diskGone is what a kernel that restarts at once says about requests that it
// sends to a disk after it has let go of it.
var diskGone = regexp.MustCompile(`I/O error|EXT4-fs|JBD2|Aborting journal|Remounting filesystem read-only|Delayed block allocation failed`)

// A machine with a state disk goes down in every way there is, and comes back
// with everything.
func TestPower(t *testing.T) {
	t.Parallel()
	iso := artifact(t, isoName)
	seed, err := writeSeed(t.TempDir(), qemutest.Config2, qemutest.VFAT)
	if err != nil {
		t.Fatal(err)
	}
	state := stateDisk(t, nil)
	options := qemutest.Options{Medium: qemutest.USB, ISO: iso, Disks: []qemutest.Disk{{Path: state}}}
	g := start(t, options, seed)
	before := g.leaveTraces(t)

	reboots := []struct {
		name     string
		tolerate []*regexp.Regexp
		do       func(*testing.T)
	}{
		{"reboot", nil, func(t *testing.T) { g.try(t, "sudo reboot") }},
		{"Ctrl-Alt-Del", nil, func(t *testing.T) { g.ctrlAltDel(t) }},
		// Nobody tells the connection that its other end is gone.
		{"reboot -f", []*regexp.Regexp{diskGone}, func(t *testing.T) {
			g.root(t, "ros config set rancher.environment.CUT 0; sync; ("+
				"(n=0; while :; do n=$((n+1)); ros config set rancher.environment.CUT $n; done) & sleep 3; reboot -f) </dev/null >/dev/null 2>&1 &")
		}},
	}
	// A boot each. TestConfiguration and TestMistakes go down in these ways, too.
	for _, tt := range reboots[:times(0, len(reboots))] {
		t.Run(tt.name, func(t *testing.T) {
			g.startSlow(t)
			if err := g.restart(t, func() { tt.do(t) }, tt.tolerate...); err != nil {
				t.Fatal(err)
			}
			g.checkTraces(t, before)
			if tt.name != "reboot -f" {
				g.checkSlow(t)
				return
			}
			// What the configuration was being set to is whole, old or new.
			if got := g.root(t, "cat %s", cloudConfig); !wholeConfig.MatchString(got) {
				t.Errorf("cloud-config.yml after the cut: %q", got)
			}
		})
	}

	t.Run("power button", func(t *testing.T) {
		g.startSlow(t)
		g.prepareOffline(t)
		if err := g.Monitor.PowerButton(t.Context()); err != nil {
			t.Fatal(err)
		}
		g.expectOff(t, state)
	})
	t.Run("with other firmware and without a network, then poweroff", func(t *testing.T) {
		options.UEFI = true
		g = startOffline(t, options, seed)
		g.checkTraces(t, before)
		g.checkSlow(t)
		g.try(t, "sudo poweroff")
		g.expectOff(t, state)
	})
}

func (g *guest) ctrlAltDel(t *testing.T) {
	t.Helper()
	if err := g.Monitor.CtrlAltDel(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// traces is what must outlive a reboot and can be compared.
type traces struct{ hostKey, image string }

// leaveTraces puts something into every place that lasts.
func (g *guest) leaveTraces(t *testing.T) traces {
	t.Helper()
	g.needImage(t)
	g.sh(t, "docker run -d --name always --restart=always -v cargo:/data %s sh -c 'echo tea >> /data/hold; exec sleep 100000'", image)
	g.sh(t, "echo diary > ~/diary && logger e2e-was-here")
	g.root(t, "mkdir -p /opt/bin && echo tool > /opt/bin/tool")
	g.root(t, "ros service stop ntp")
	upgraded := g.shippedImage(t, "syslog").derive(t, "e2e/syslog:upgraded", map[string]program{"/usr/bin/e2e-was-here": program("#!/bin/sh\n")}, nil)
	if r := g.pipe(t, "sudo system-docker load && sudo ros service upgrade syslog e2e/syslog:upgraded", bytes.NewReader(upgraded.archive)); r.Exit != 0 {
		t.Fatalf("upgrade of syslog: %s%s", r.Stdout, r.Stderr)
	}
	return traces{hostKey: g.client.HostKey, image: g.sh(t, "docker image inspect -f '{{.Id}}' %s", image)}
}

// checkTraces looks for the traces after a later boot.
func (g *guest) checkTraces(t *testing.T, want traces) {
	t.Helper()
	got := traces{hostKey: g.client.HostKey, image: g.sh(t, "docker image inspect -f '{{.Id}}' %s", image)}
	if got != want {
		t.Errorf("host key and image = %+v; want %+v as before", got, want)
	}
	if got := g.root(t, "grep -rhoE 'images_loaded=[0-9]+' /var/log | tail -n 1"); got != "images_loaded=0" {
		t.Errorf("later boot: %q; want images_loaded=0", got)
	}
	g.eventually(t, "container with --restart=always runs", 30*time.Second, g.succeeds("docker exec always true"))
	for _, check := range []string{"docker exec always grep tea /data/hold", "grep diary ~/diary", "grep tool /opt/bin/tool", "sudo grep -rq e2e-was-here /var/log",
		"sudo ros service list | grep -q '^ntp .* stopped '", "sudo system-docker exec syslog e2e-was-here",
		// It has waited for the network.
		`[ "$(docker inspect -f '{{.State.StartedAt}}' always | date -f - +%s%N)" -ge "$(date -r /run/bulkhead/network/ready +%s%N)" ]`} {
		if err := g.succeeds(check)(); err != nil {
			t.Error(err)
		}
	}
}

// startSlow starts a container that needs 8 s to stop.
func (g *guest) startSlow(t *testing.T) {
	t.Helper()
	g.sh(t, `docker rm -f slow; docker run -d --name slow --stop-timeout 40 -v slow:/data %s sh -c 'trap "sleep 8; echo done > /data/end; exit 0" TERM; echo started > /data/end; while :; do sleep 0.2; done'`, image)
	g.eventually(t, "container that stops slowly runs", 10*time.Second, g.succeeds("docker exec slow grep started /data/end"))
}

// checkSlow checks, after the next boot, that the container got its 8 s.
func (g *guest) checkSlow(t *testing.T) {
	t.Helper()
	if got := g.sh(t, "docker inspect -f '{{.State.ExitCode}} {{.State.Status}}' slow; docker run --rm -v slow:/data %s cat /data/end", image); got != "0 exited\ndone" {
		t.Errorf("container that needs 8 s to stop: %q; want 0 exited, done", got)
	}
}

// offlineHealthy is what the service of prepareOffline says when it is healthy.
var offlineHealthy = regexp.MustCompile(`e2e: healthy without a network`)

// prepareOffline has a service in user Docker from the next boot on, whose image
// is only in an archive.
func (g *guest) prepareOffline(t *testing.T) {
	t.Helper()
	g.importImage(t, "docker", "offline:e2e")
	g.root(t, `mkdir -p /var/lib/rancher/preload/docker && docker save offline:e2e | gzip >/var/lib/rancher/preload/docker/offline.tgz && docker rmi offline:e2e`)
	if r := g.pipe(t, "sudo ros config merge", strings.NewReader(`rancher:
  services:
    offline:
      image: offline:e2e
      command: sleep 100000
      devices: [/dev/ttyS0]
      healthcheck: {test: 'echo e2e: healthy without a network >/dev/ttyS0', interval: 5s}
      stop_grace_period: 1s
`)); r.Exit != 0 {
		t.Fatalf("ros config merge: %s%s", r.Stdout, r.Stderr)
	}
}

// startOffline starts a machine whose cable is out until its services are
// healthy.
func startOffline(t *testing.T, o qemutest.Options, seed seedDisk) *guest {
	t.Helper()
	g := &guest{VM: qemutest.StartT(t, seed.in(o), expected...), key: seed.key}
	link := func(up bool) {
		if err := g.Monitor.Execute(t.Context(), "set_link", map[string]any{"name": "net0", "up": up}, nil); err != nil {
			t.Fatal(err)
		}
	}
	link(false)
	for name, line := range map[string]*regexp.Regexp{"ready line": readyLine, "service without a network": offlineHealthy} {
		if _, err := g.AwaitConsole(name, bootDeadline, 0, line); err != nil {
			t.Fatal(err)
		}
	}
	link(true)
	if err := g.awaitReady(0); err != nil {
		t.Fatal(err)
	}
	return g
}

// expectOff waits until the machine is off and checks that the state disk was
// unmounted.
func (g *guest) expectOff(t *testing.T, state string) {
	t.Helper()
	e, err := g.AwaitExit("power off", 60*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if e.Data.Reason != "guest-shutdown" {
		t.Errorf("machine ended by %s; want guest-shutdown", e.Data.Reason)
	}
	if err := qemutest.Ext4Clean(t.Context(), state); err != nil {
		t.Error(err)
	}
}

// restart does what makes the machine reboot and waits for the next boot.
// Console lines that match tolerate are no trouble on the way down.
func (g *guest) restart(t *testing.T, do func(), tolerate ...*regexp.Regexp) error {
	t.Helper()
	end := g.Tolerate(tolerate...)
	console, err := g.reset(t, do)
	end()
	if err != nil {
		return err
	}
	return g.awaitReady(console)
}

// reset does what makes the machine reboot, waits until it goes down, and
// returns the console position before.
func (g *guest) reset(t *testing.T, do func()) (mark int, err error) {
	t.Helper()
	console, events := g.Console.Mark(), g.Monitor.Mark()
	do()
	err = g.Await("reset", 60*time.Second, func(ctx context.Context) error {
		e, err := g.Monitor.Wait(ctx, events, "RESET", "SHUTDOWN")
		if err == nil && e.Name != "RESET" {
			err = fmt.Errorf("the machine went off: %s", e.Data.Reason)
		}
		return err
	})
	return console, err
}
