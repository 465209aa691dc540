package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// A service gets another image only if that works; whatever is wrong with it,
// the previous image runs again, and nobody else notices.
func TestServiceUpgrade(t *testing.T) {
	g := sharedGuest(t)
	g.clean(t)
	g.needImage(t)
	g.awaitHealthy(t, 90*time.Second)
	g.sh(t, "docker run -d --name stays %s sleep 100000", image)
	workload := func() string { return g.sh(t, "docker inspect -f '{{.State.Pid}}' stays") }
	pid := workload()

	for _, name := range times(services[5:6], services) {
		shipped := g.shippedImage(t, name)
		main := g.root(t, "system-docker inspect -f '{{index .Config.Cmd 0}}' %s", name)
		check := g.root(t, "system-docker inspect -f '{{index .Config.Healthcheck.Test 1}}' %s", name)
		images := []struct {
			how      string
			programs map[string]program
			says     string
		}{
			{"exits", map[string]program{main: program("#!/bin/sh\nexit 3\n")}, "it ended"},
			{"hangs", map[string]program{main: program("#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 1; done\n")}, "is not healthy"},
			{"is unhealthy", map[string]program{check: program("#!/bin/sh\nexit 1\n")}, "is not healthy"},
		}
		for _, broken := range times(images[:1], images) {
			if broken.how == "is unhealthy" && check == main {
				continue // The check is the service itself: it hangs then.
			}
			if broken.how == "is unhealthy" && name == "udev" {
				broken.says = "it ended" // Its program needs the check's, udevadm.
			}
			t.Run(name+" "+broken.how, func(t *testing.T) {
				others := g.containersBut(t, name)
				bad := shipped.derive(t, "e2e/"+name+":bad", broken.programs, nil)
				g.bring(t, bad, "/tmp/bad.tar")
				began := time.Now()
				g.upgrade(t, name, "/tmp/bad.tar", bad, broken.says)
				g.eventually(t, name+" runs from the shipped image", 2*time.Minute, func() error { return g.runsFrom(name, "shipped") })
				t.Logf("back after %.0f s", time.Since(began).Seconds())
				if got := g.containersBut(t, name); !slices.Equal(got, others) {
					t.Errorf("other services' containers were\n%s\nnow\n%s", others, got)
				}
				if got := workload(); got != pid {
					t.Errorf("process of the workload = %s; want %s as before", got, pid)
				}
				if e := g.lastEvent(t, name); e.Image != bad.id || !strings.Contains(e.Error, broken.says) {
					t.Errorf("event of the failure: %+v", e)
				}
			})
		}
	}
	t.Run("syslog is kept and rolled back", func(t *testing.T) {
		good := g.shippedImage(t, "syslog").derive(t, "e2e/syslog:good", map[string]program{"/usr/bin/e2e-was-here": program("#!/bin/sh\n")}, nil)
		g.bring(t, good, "/tmp/good.tar")
		g.root(t, "ros service upgrade syslog /tmp/good.tar")
		g.root(t, "system-docker exec syslog test -x /usr/bin/e2e-was-here")
		if err := g.runsFrom("syslog", good.short()); err != nil {
			t.Error(err)
		}
		// It lasts, and works.
		g.root(t, "system-docker rm -f syslog")
		g.eventually(t, "syslog is there again", recovery, func() error { return g.runsFrom("syslog", good.short()) })
		g.root(t, "logger e2e-after-upgrade")
		g.eventually(t, "message in the log", 10*time.Second, g.succeeds("sudo grep -rq e2e-after-upgrade /var/log"))
		g.root(t, "ros service rollback syslog")
		if err := g.runsFrom("syslog", "shipped"); err != nil {
			t.Error(err)
		}
	})
	if !testing.Short() { // TestServices has the same for a service of the configuration
		t.Run("a service that is stopped stays so", g.checkStopped)
	}
	g.awaitHealthy(t, 90*time.Second)
}

// checkStopped stops a service of the OS, which an orchestrator that comes later
// obeys, too.
func (g *guest) checkStopped(t *testing.T) {
	g.root(t, "ros service stop ntp")
	if got := g.root(t, "ros service list | awk '$1 == \"ntp\" {print $3}'"); got != "stopped" {
		t.Errorf("state = %q; want stopped", got)
	}
	g.root(t, "kill -9 $(pgrep -xf '.*/orchestrator')")
	g.eventually(t, "orchestrator answers", recovery, g.succeeds("sudo ros service start acpid"))
	if got := g.root(t, "ros service list | awk '$1 == \"ntp\" {print $3}'"); got != "stopped" {
		t.Errorf("state after the orchestrator's end = %q; want stopped", got)
	}
	if r := g.try(t, "sudo ros service stop console"); r.Exit == 0 || !strings.Contains(r.Stderr, "--force") {
		t.Errorf("stop of the console: %+v", r)
	}
	g.root(t, "ros service start ntp")
}

// containersBut lists the containers of all OS services but one.
func (g *guest) containersBut(t *testing.T, name string) []string {
	t.Helper()
	list := strings.Split(g.root(t, "system-docker ps --no-trunc --format '{{.Names}} {{.ID}}' | sort"), "\n")
	return slices.DeleteFunc(list, func(line string) bool { return strings.HasPrefix(line, name+" ") })
}

// upgrade asks for an upgrade that is to fail. The command may die with the
// service.
func (g *guest) upgrade(t *testing.T, name, archive string, bad derivedImage, says string) {
	t.Helper()
	if name == "console" || name == "network" {
		_, _ = g.output("sudo ros service upgrade " + name + " " + archive)
	} else if r := g.try(t, "sudo ros service upgrade "+name+" "+archive); r.Exit != 1 || !strings.Contains(r.Stderr, says) || !strings.Contains(r.Stderr, "the shipped image runs again") {
		t.Errorf("upgrade to image %s: exit code %d, %s%s; want 1 and %q", bad.short(), r.Exit, r.Stdout, r.Stderr, says)
	}
	g.eventually(t, "end of the upgrade is recorded", 3*time.Minute, func() error {
		out, err := g.output("sudo ros service history --json " + name)
		if err == nil && !strings.Contains(out, bad.id) {
			err = fmt.Errorf("no event with image %s: %s", bad.short(), out)
		}
		return err
	})
}

// runsFrom tells in what a service differs from one that is healthy and runs
// from this image, as ros service list names it.
func (g *guest) runsFrom(name, image string) error {
	out, err := g.output("sudo ros service list --json")
	if err != nil {
		return err
	}
	var list []struct{ Name, State, Health, Image string }
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return err
	}
	for _, s := range list {
		if s.Name != name {
			continue
		}
		if s.Image == "" {
			s.Image = "sha256:shipped"
		}
		if s.State == "running" && s.Health == "healthy" && strings.HasPrefix(s.Image, "sha256:"+image) {
			return nil
		}
		return fmt.Errorf("service %+v; want it healthy and from %s", s, image)
	}
	return fmt.Errorf("no service %s in %s", name, out)
}

// lastEvent is the last one of a service's history.
func (g *guest) lastEvent(t *testing.T, name string) (last struct{ Verb, Image, Error string }) {
	t.Helper()
	var events []struct{ Verb, Image, Error string }
	if err := json.Unmarshal([]byte(g.root(t, "ros service history --json %s", name)), &events); err != nil {
		t.Fatal(err)
	}
	if len(events) > 0 {
		last = events[len(events)-1]
	}
	return last
}
