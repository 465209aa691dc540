package e2e

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-os/bulkhead/e2e/qemutest"
)

// The Debian console is a Debian: its packages work, can be changed, and stay.
func TestDebianConsole(t *testing.T) {
	forRelease(t, "the Debian console takes minutes to make")
	t.Parallel()
	iso, archive := artifact(t, isoName), artifact(t, "console-debian.tar.zst")
	seed, err := newSeed(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	g := start(t, qemutest.Options{ISO: iso, Disks: []qemutest.Disk{{Path: stateDisk(t, nil)}}}, seed)
	file, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if r := g.pipe(t, "sudo tee /opt/console.tar.zst >/dev/null", file); r.Exit != 0 {
		t.Fatal(r.Stderr)
	}
	began := time.Now()
	g.root(t, "ros console enable /opt/console.tar.zst && rm /opt/console.tar.zst")
	t.Logf("loaded in %.0f s", time.Since(began).Seconds())
	t.Logf("ssh after %.1f s", g.switchConsole(t, "debian").Seconds())
	runs := func(t *testing.T, name string) {
		t.Helper()
		g.eventually(t, "console "+name+" is healthy", time.Minute, func() error {
			_, err := g.output("sudo ros console list | grep -E '^\\* +" + name + " ' && sudo system-docker ps | grep -E 'console.*healthy|healthy.*console'")
			return err
		})
	}
	runs(t, "debian")
	g.needImage(t)
	g.sh(t, "docker run -d --name lives --restart always %s sleep 100000", image)
	for _, tt := range []struct{ name, command, want string }{
		{"Debian", "cat /etc/debian_version | cut -d. -f1", "13"},
		{"groups", "id -Gn", "rancher sudo docker"},
		{"packages are whole", "sudo dpkg --audit; dpkg -l | grep -c ^ii | grep -qE '^[0-9]{3}$' && echo many", "many"},
		{"manual", "man ls | grep -c 'list directory contents'", "1"},
		{"manual of ros", "man ros | grep -c 'show and control this machine'", "1"},
		{"user Docker", "docker version -f '{{.Client.Version}}' | grep -c .", "1"},
		{"System Docker", "sudo system-docker ps -q --filter name=console | grep -c .", "1"},
		{"ros", "ros os version | grep -c .", "1"},
		{"engines", "sudo ros engine list | grep -c ' shipped .*runs'", "1"},
		{"version", "grep -c ^ID=bulkhead /etc/os-release", "1"},
		{"sudo", "sudo -n id -u", "0"},
		{"a package", `mkdir -p /tmp/p/DEBIAN /tmp/p/usr/bin && cd /tmp
			printf 'Package: e2e-ship\nVersion: 1\nArchitecture: all\nMaintainer: e2e\nDescription: e2e\n' >p/DEBIAN/control
			printf '#!/bin/sh\necho ahoy\n' >p/usr/bin/e2e-ship && chmod 755 p/usr/bin/e2e-ship
			dpkg-deb -b p e2e.deb >/dev/null && sudo apt-get install -y ./e2e.deb >/dev/null 2>&1; e2e-ship`, "ahoy"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := g.try(t, tt.command)
			if got := strings.TrimSpace(r.Stdout); got != tt.want {
				t.Errorf("%s\n%s%s\nwant:\n%s", tt.command, r.Stdout, r.Stderr, tt.want)
			}
		})
	}
	t.Run("after a reboot", func(t *testing.T) {
		if err := g.restart(t, func() { g.try(t, "sudo reboot") }); err != nil {
			t.Fatal(err)
		}
		runs(t, "debian")
		if got := g.sh(t, "e2e-ship; dpkg -s e2e-ship | grep Status"); got != "ahoy\nStatus: install ok installed" {
			t.Errorf("what was installed: %q", got)
		}
		g.eventually(t, "its container has started again", time.Minute, g.succeeds("docker top lives"))
	})
}

// A machine that is to have no console gets ready without one.
func TestNoConsole(t *testing.T) {
	forRelease(t, "it boots a machine of its own")
	t.Parallel()
	options := netBoot(t, "rancher.console=none")
	options.CPUs = 1
	g := &guest{VM: qemutest.StartT(t, options, expected...)}
	ready, err := g.AwaitConsole("ready line", bootDeadline, 0, readyLine)
	if err != nil {
		t.Fatal(err)
	}
	if ready[1] == "not ready" {
		t.Error(ready[0])
	}
	if _, err := g.AwaitSSH(2*time.Second, qemutest.LoginPassword("rancher", "rancher")); err == nil {
		t.Error("somebody can log in")
	}
}
