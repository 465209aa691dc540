package e2e

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-os/bulkhead/e2e/qemutest"
)

// furtherDocker is the client of the engine e2e that tests make.
const furtherDocker = "docker -H unix:///run/docker-e2e/docker.sock"

// A user engine beside the first one has a socket, data and a network of its
// own, is kept up as a service is, and leaves nothing behind.
func TestFurtherEngine(t *testing.T) {
	forRelease(t, "people have one user engine by default")
	g := sharedGuest(t)
	g.clean(t)
	g.needImage(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "outside") }))
	defer server.Close()
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	g.sh(t, "docker run -d --name first %s sleep 100000", image)
	first := g.sh(t, "docker inspect -f '{{.State.Pid}}' first")
	t.Cleanup(func() { g.try(t, "sudo ros engine rm --yes e2e") })

	began := time.Now()
	if got := g.root(t, "ros engine create e2e"); !strings.Contains(got, "unix:///run/docker-e2e/docker.sock") {
		t.Errorf("ros engine create: %s", got)
	}
	t.Logf("created in %.0f s", time.Since(began).Seconds())
	g.importImage(t, furtherDocker, image)
	g.sh(t, "%s run -d --name web --restart always -v life:/life -p 8080:80 %s sh -c 'echo born >> /life/log; echo other > /index.html; exec httpd -f -p 80 -h /'", furtherDocker, image)

	t.Run("of its own", func(t *testing.T) {
		if got := g.sh(t, "docker ps --format '{{.Names}}'; docker volume ls -q"); got != "first" {
			t.Errorf("user Docker has %q; want its own container only", got)
		}
		if got := g.sh(t, "%s run --rm %s wget -q -O - http://10.0.2.2:%s/", furtherDocker, image, port); got != "outside" {
			t.Errorf("from its container the world says %q", got)
		}
		if got := g.sh(t, "%s run --rm %s cat /proc/self/attr/current", furtherDocker, image); got != "docker-default (enforce)" {
			t.Errorf("its container is %q", got)
		}
		list := strings.Fields(lastLine(g.root(t, "ros engine list")))
		if len(list) < 2 || list[0] != "e2e" {
			t.Fatalf("ros engine list ends with %q", list)
		}
		g.eventually(t, "its published port", 10*time.Second, g.succeeds("docker exec first wget -q -O - http://"+list[1]+":8080/ | grep -q other"))
	})
	t.Run("is a service", func(t *testing.T) {
		if got := g.root(t, "ros service list"); !strings.Contains(got, "docker-e2e") {
			t.Errorf("ros service list:\n%s", got)
		}
		if got := g.root(t, "ros audit"); !strings.Contains(got, "docker-e2e, privileged: a user engine that people have made") {
			t.Errorf("ros audit:\n%s", got)
		}
		g.root(t, "ros service kill docker-e2e")
		g.eventually(t, "its container after a kill", 60*time.Second, func() error {
			got, err := g.output(furtherDocker + " exec web cat /life/log")
			if err != nil || !strings.HasPrefix(got, "born\nborn") {
				return fmt.Errorf("%q, %w", got, err)
			}
			return nil
		})
	})
	t.Run("and goes", func(t *testing.T) {
		if r := g.try(t, "sudo ros engine rm e2e < /dev/null"); r.Exit != 2 || !strings.Contains(r.Stderr, "--yes") {
			t.Errorf("removal without a word: exit code %d, %s", r.Exit, r.Stderr)
		}
		g.root(t, "ros engine rm --yes e2e")
		for _, gone := range []string{
			"test ! -e /run/docker-e2e", "! ip link show engine1", "! sudo system-docker inspect docker-e2e",
			"! sudo system-docker exec docker nft list table ip bulkhead-engine1",
		} {
			g.eventually(t, gone, 10*time.Second, g.succeeds(gone+" 2>/dev/null"))
		}
		if got := g.sh(t, "docker inspect -f '{{.State.Pid}}' first"); got != first {
			t.Errorf("container of user Docker has PID %s; want %s as before", got, first)
		}
	})
}

// What people have chosen and made of engines is there after a reboot, and what
// runs in them.
func TestEnginesOutliveAReboot(t *testing.T) {
	forRelease(t, "it boots a machine twice")
	t.Parallel()
	iso := artifact(t, isoName)
	seed, err := newSeed(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	g := start(t, qemutest.Options{ISO: iso, Disks: []qemutest.Disk{{Path: stateDisk(t, nil)}}}, seed)
	g.needImage(t)
	chosen := g.shippedImage(t, "docker").derive(t, "e2e/docker:chosen", map[string]program{"/e2e": nil}, engineLabel("29.99.0"))
	g.bring(t, chosen, "/opt/chosen.tar")
	g.root(t, "ros engine enable /opt/chosen.tar")
	g.root(t, "ros engine create e2e")
	g.importImage(t, furtherDocker, image)
	for _, docker := range []string{"docker", furtherDocker} {
		g.sh(t, "%s run -d --name lives --restart always -v life:/life %s sh -c 'echo born >> /life/log; exec sleep 100000'", docker, image)
	}
	if got, want := g.root(t, "ros engine list"), chosen.short()+"   loaded    from the next boot on"; !strings.Contains(got, want) {
		t.Errorf("ros engine list:\n%s\nwant %q", got, want)
	}
	if err := g.restart(t, func() { g.try(t, "sudo reboot") }); err != nil {
		t.Fatal(err)
	}
	for _, docker := range []string{"docker", furtherDocker} {
		g.eventually(t, docker+" has started its container again", 2*time.Minute, func() error {
			got, err := g.output(docker + " exec lives cat /life/log")
			if err == nil && strings.TrimSpace(got) != "born\nborn" {
				err = fmt.Errorf("%q", got)
			}
			return err
		})
	}
	g.eventually(t, "the chosen engine is healthy", time.Minute, func() error { return g.runsFrom("docker", chosen.short()) })
	if got, want := g.root(t, "ros engine list"), chosen.short()+"   loaded    runs\n"; !strings.Contains(got, want) {
		t.Errorf("ros engine list:\n%s\nwant %q", got, want)
	}
}

// lastLine is the last one of a text.
func lastLine(text string) string { return text[strings.LastIndex(text, "\n")+1:] }
