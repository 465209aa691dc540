package e2e

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// A user engine beside the first one has a socket, data and a network of its
// own, is kept up as a service is, and leaves nothing behind.
func TestFurtherEngine(t *testing.T) {
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
	const docker = "docker -H unix:///run/docker-e2e/docker.sock"
	g.importImage(t, docker, image)
	g.sh(t, "%s run -d --name web --restart always -v life:/life -p 8080:80 %s sh -c 'echo born >> /life/log; echo other > /index.html; exec httpd -f -p 80 -h /'", docker, image)

	t.Run("of its own", func(t *testing.T) {
		if got := g.sh(t, "docker ps --format '{{.Names}}'; docker volume ls -q"); got != "first" {
			t.Errorf("user Docker has %q; want its own container only", got)
		}
		if got := g.sh(t, "%s run --rm %s wget -q -O - http://10.0.2.2:%s/", docker, image, port); got != "outside" {
			t.Errorf("from its container the world says %q", got)
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
			got, err := g.output(docker + " exec web cat /life/log")
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

// lastLine is the last one of a text.
func lastLine(text string) string { return text[strings.LastIndex(text, "\n")+1:] }
