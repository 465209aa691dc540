package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-os/bulkhead/e2e/qemutest"
)

// olderEngine is the version in the module olderengine.
const olderEngine = "29.8.0"

// User Docker's engine changes under running containers, which keep their
// processes, their network and their logs.
func TestEngineSwitch(t *testing.T) {
	g := sharedGuest(t)
	g.clean(t)
	version := g.version(t)
	t.Cleanup(func() { g.try(t, "sudo ros engine switch --force "+version) })
	shipped := g.shippedImage(t, "docker")
	// The older engine takes minutes to build. Another image with the same one
	// is switched to in the same way.
	programs := map[string]program{"/e2e": nil}
	if !testing.Short() {
		programs = map[string]program{"/usr/bin/dockerd": buildOlderEngine(t)}
	}
	older := shipped.derive(t, "e2e/docker:older", programs, engineLabel(olderEngine))
	g.awaitHealthy(t, 90*time.Second)
	switched := times(version, olderEngine)

	g.buildWeb(t, "web:e2e")
	g.sh(t, "docker run -d --name web -p 8080:80 web:e2e")
	g.sh(t, `docker run -d --name counts %s sh -c 'n=0; while :; do echo $n; n=$((n+1)); sleep 0.5; done'`, image)
	for i := range times(3, 18) {
		g.sh(t, "docker run -d --name idle%d %s sleep 100000", i, image)
	}
	addr, err := g.Forward(t.Context(), 8080)
	if err != nil {
		t.Fatal(err)
	}
	g.eventually(t, "page from "+addr, 10*time.Second, func() error { return pageSays(t.Context(), addr, "hello from the ship") })
	processes := func() string { return g.sh(t, "docker inspect -f '{{.Name}} {{.State.Pid}}' $(docker ps -q) | sort") }
	before := processes()

	// check looks at what must have outlived a switch.
	check := func(t *testing.T, want string) {
		t.Helper()
		if got := g.version(t); got != want {
			t.Errorf("engine = %s; want %s", got, want)
		}
		if got := processes(); got != before {
			t.Errorf("containers and processes were\n%s\nnow\n%s", before, got)
		}
		g.sh(t, "docker exec idle0 true && docker run --rm %s true", image)
		g.eventually(t, "rules held for containers are gone", 10*time.Second, g.succeeds("! sudo system-docker exec docker nft list tables | grep bulkhead-bridges"))
		if err := unbroken(g.sh(t, "docker logs counts")); err != nil {
			t.Errorf("log: %v", err)
		}
		g.sh(t, `n=$(docker logs counts | wc -l); timeout 20 docker logs -f --tail 0 counts | head -n 1 | grep -q .`)
	}
	t.Run("to an older one", func(t *testing.T) {
		g.bring(t, older, "/tmp/older.tar")
		load := g.load(t, addr)
		g.root(t, "ros engine switch /tmp/older.tar")
		load.check(t)
		check(t, switched)
		if got := g.root(t, "ros engine list"); !strings.Contains(got, olderEngine) || !strings.Contains(got, "shipped") {
			t.Errorf("ros engine list:\n%s", got)
		}
	})
	if testing.Short() { // TestServiceUpgrade has the same way back
		return
	}
	t.Run("that does not work", func(t *testing.T) {
		bad := shipped.derive(t, "e2e/docker:bad", map[string]program{
			"/usr/lib/bulkhead/user-docker": program("#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 1; done\n"),
		}, engineLabel("29.9.9"))
		g.bring(t, bad, "/tmp/bad.tar")
		g.root(t, "system-docker load -qi /tmp/bad.tar")
		load := g.load(t, addr)
		began := time.Now()
		r := g.try(t, "sudo ros engine switch e2e/docker:bad")
		if r.Exit != 1 || !strings.Contains(r.Stderr, "image "+older.short()+" runs again") {
			t.Errorf("switch to a broken engine: exit code %d, %s%s", r.Exit, r.Stdout, r.Stderr)
		}
		t.Logf("back after %.0f s", time.Since(began).Seconds())
		load.check(t)
		check(t, switched)
	})
	t.Run("and back", func(t *testing.T) {
		load := g.load(t, addr)
		g.root(t, "ros engine switch %s", version)
		load.check(t)
		check(t, version)
	})
}

// An engine that cannot take over what runs is refused before anything stops. By
// force containers stop in order, and start again with all that they had.
func TestEngineTooFar(t *testing.T) {
	forRelease(t, "Debian's engine takes minutes to fetch")
	g := sharedGuest(t)
	g.clean(t)
	version := g.version(t)
	t.Cleanup(func() { g.try(t, "sudo ros engine switch --force "+version) })
	g.awaitHealthy(t, 90*time.Second)
	far := g.shippedImage(t, "docker").derive(t, "e2e/docker:far", debianEngineFiles(t), engineLabel(debianEngine))

	g.buildWeb(t, "web:e2e")
	g.sh(t, "docker run -d --name web -p 8080:80 web:e2e && docker volume create e2e-life")
	t.Cleanup(func() { g.try(t, "docker rm -f lives; docker volume rm e2e-life") })
	g.sh(t, `docker run -d --name lives --restart unless-stopped -v e2e-life:/life %s sh -c '`+
		`trap "echo told >> /life/log; exit 0" TERM; echo born >> /life/log; echo own > /own; while :; do sleep 0.2; done'`, image)
	addr, err := g.Forward(t.Context(), 8080)
	if err != nil {
		t.Fatal(err)
	}
	page := func() error { return pageSays(t.Context(), addr, "hello from the ship") }
	g.eventually(t, "page from "+addr, 20*time.Second, page)
	life := "born"
	lives := func() error {
		if got, err := g.output("docker exec lives cat /life/log"); err != nil || strings.TrimSpace(got) != life {
			return fmt.Errorf("%q, %w; want %q", got, err, life)
		}
		return nil
	}
	g.eventually(t, "first line of the container", 10*time.Second, lives)

	t.Run("refused", func(t *testing.T) {
		g.bring(t, far, "/tmp/far.tar")
		before := g.sh(t, "docker inspect -f '{{.Name}} {{.State.Pid}}' web lives")
		r := g.try(t, "sudo ros engine switch /tmp/far.tar")
		if r.Exit != 1 || !strings.Contains(r.Stderr, debianEngine+" cannot take over the containers that "+version+" runs") {
			t.Errorf("switch to %s: exit code %d, %s%s", debianEngine, r.Exit, r.Stdout, r.Stderr)
		}
		if after := g.sh(t, "docker inspect -f '{{.Name}} {{.State.Pid}}' web lives"); after != before || g.version(t) != version {
			t.Errorf("after a refusal: engine %s with\n%s\nwant %s with\n%s", g.version(t), after, version, before)
		}
	})
	for _, to := range []string{debianEngine, version} {
		t.Run("by force to "+to, func(t *testing.T) {
			began := time.Now()
			g.root(t, "ros engine switch --force %s", to)
			t.Logf("took %.0f s", time.Since(began).Seconds())
			if got := g.version(t); !strings.HasPrefix(got, to) {
				t.Errorf("engine = %s; want %s", got, to)
			}
			// Asked to stop, and started again, with what it had written.
			life += "\ntold\nborn"
			g.eventually(t, "container that is to restart", 20*time.Second, lives)
			g.sh(t, "docker exec lives grep -q own /own")
			if got := g.sh(t, "docker inspect -f '{{.State.Status}}' web"); got != "exited" {
				t.Errorf("container without a restart policy is %s; want exited", got)
			}
			g.sh(t, "docker start web")
			g.eventually(t, "page from "+addr, 20*time.Second, page)
			g.sh(t, "docker run --rm %s true", image)
		})
	}
}

func engineLabel(version string) map[string]string {
	return map[string]string{"io.bulkhead.engine": version}
}

// version is that of user Docker's engine.
func (g *guest) version(t *testing.T) string {
	t.Helper()
	return g.sh(t, "docker version -f '{{.Server.Version}}'")
}

// buildOlderEngine builds the stock daemon of an earlier release.
func buildOlderEngine(t *testing.T) program {
	t.Helper()
	file := filepath.Join(t.TempDir(), "dockerd")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-C", "olderengine", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -X github.com/moby/moby/v2/dockerversion.Version="+olderEngine,
		"-o", file, "github.com/moby/moby/v2/cmd/dockerd")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the older engine: %v\n%s", err, out)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// unbroken tells where lines that count from 0 leave one out.
func unbroken(lines string) error {
	for i, line := range strings.Split(lines, "\n") {
		if n, err := strconv.Atoi(line); err != nil || n != i {
			return fmt.Errorf("line %d is %q", i, line)
		}
	}
	return nil
}

// A webLoad asks for a page all the time.
type webLoad struct {
	stop  context.CancelFunc
	ended chan struct{}
	pages int
	// longest is the longest time without a page, away that in which all
	// requests failed, and failed is what they said.
	longest, away time.Duration
	failed        []error
}

// load asks for a page again and again until check is called.
func (g *guest) load(t *testing.T, addr string) *webLoad {
	ctx, cancel := context.WithCancel(t.Context())
	l := &webLoad{stop: cancel, ended: make(chan struct{})}
	t.Cleanup(cancel)
	// A connection of its own for each request, as from many clients. A packet
	// that gets lost is sent again.
	client := http.Client{Timeout: qemutest.Scaled(5 * time.Second), Transport: &http.Transport{DisableKeepAlives: true}}
	go func() {
		defer close(l.ended)
		answered := time.Now()
		var since time.Time // of the first request that failed
		for ctx.Err() == nil {
			asked := time.Now()
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/", nil)
			if err == nil {
				var response *http.Response
				if response, err = client.Do(request); err == nil {
					err = response.Body.Close()
				}
			}
			switch {
			case ctx.Err() != nil:
			case err != nil:
				l.failed = append(l.failed, err)
				if since.IsZero() {
					since = asked
				}
				l.away = max(l.away, time.Since(since))
			default:
				l.longest = max(l.longest, time.Since(answered))
				answered, since = time.Now(), time.Time{}
				l.pages++
			}
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
	return l
}

// check ends the load. While the engine makes its firewall rules anew those from
// before do their work: no request may fail for longer than a second, however slow
// the machine. One whose first packet gets lost takes as long as QEMU's user
// network takes to send it again, some seconds.
func (l *webLoad) check(t *testing.T) {
	t.Helper()
	l.stop()
	<-l.ended
	t.Logf("%d pages, at most %s without one; %d requests failed within %s",
		l.pages, l.longest.Round(time.Millisecond), len(l.failed), l.away.Round(time.Millisecond))
	if l.pages == 0 || l.away > time.Second {
		t.Errorf("the page was away for %s: %v", l.away, errors.Join(l.failed...))
	}
}
