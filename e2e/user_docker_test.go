package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
)

// buildWeb builds an image with a web server from a Dockerfile.
func (g *guest) buildWeb(t *testing.T, tag string) {
	t.Helper()
	g.needImage(t)
	g.sh(t, `mkdir -p web && printf 'FROM %s\nRUN echo "hello from the ship" > /index.html\nCMD ["httpd","-f","-p","80","-h","/"]\n' > web/Dockerfile && docker build -q -t %s web`, image, tag)
}

func TestPublishedPortsAndGateways(t *testing.T) {
	g := sharedGuest(t)
	g.clean(t)

	t.Run("a published port answers outside", func(t *testing.T) {
		g.buildWeb(t, "web:e2e")
		g.sh(t, "docker run -d --name web -p 8080:80 web:e2e")
		addr, err := g.Forward(t.Context(), 8080)
		if err != nil {
			t.Fatal(err)
		}
		g.eventually(t, "page from "+addr, 10*time.Second, func() error { return pageSays(t.Context(), addr, "hello from the ship") })
	})
	n := times(3, 100)
	t.Run(fmt.Sprintf("%d containers in a row ping their gateway", n), func(t *testing.T) {
		g.needImage(t)
		for i := range n {
			g.sh(t, `docker run --rm %s sh -c 'ping -c 1 -W 5 $(ip route | awk "/^default/ {print \$3}")' >/dev/null || { echo run %d; exit 1; }`, image, i)
		}
	})
	t.Run("the gateway answers over IPv6", func(t *testing.T) {
		g.needImage(t)
		t.Cleanup(func() { g.try(t, "docker network rm six") })
		g.sh(t, "docker network create --ipv6 --subnet fd00:6::/64 --gateway fd00:6::1 six")
		// Until duplicate address detection is over the first pings fail.
		g.sh(t, "docker run --rm --network six %s ping -6 -c 3 -W 5 fd00:6::1", image)
	})
	t.Run("IPv4 NAT leads out", func(t *testing.T) {
		g.needImage(t)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "outside") }))
		defer server.Close()
		_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
		// QEMU's user network maps 10.0.2.2 to the build machine's loopback.
		if got := g.sh(t, "docker run --rm %s wget -q -O - http://10.0.2.2:%s/", image, port); got != "outside" {
			t.Errorf("page through NAT = %q; want outside", got)
		}
	})
	t.Run("containers find each other by name", func(t *testing.T) {
		g.needImage(t)
		t.Cleanup(func() { g.try(t, "docker rm -f first; docker network rm names") })
		g.sh(t, "docker network create names && docker run -d --name first --network names %s sleep 1000", image)
		g.sh(t, "docker run --rm --network names %s ping -c 1 -W 5 first", image)
	})
}

// pageSays fetches a page and compares it.
func pageSays(ctx context.Context, addr, want string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/", nil)
	if err != nil {
		return err
	}
	client := http.Client{Timeout: 10 * time.Second}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if got := strings.TrimSpace(string(body)); got != want {
		return fmt.Errorf("page = %q; want %q", got, want)
	}
	return nil
}

func TestImagesTravel(t *testing.T) {
	g := sharedGuest(t)
	g.clean(t)

	t.Run("save and load", func(t *testing.T) {
		g.buildWeb(t, "web:e2e")
		g.sh(t, "docker save -o web.tar web:e2e && docker rmi web:e2e && docker load -i web.tar && rm web.tar")
		if got := g.sh(t, "docker run --rm web:e2e cat /index.html"); got != "hello from the ship" {
			t.Errorf("page in the loaded image = %q", got)
		}
	})
	t.Run("push and pull", func(t *testing.T) {
		g.needImage(t)
		server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
		defer server.Close()
		_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
		name := "10.0.2.2:" + port + "/busybox:e2e"
		g.daemonJSON(t, fmt.Sprintf(`{"insecure-registries": ["10.0.2.2:%s"]}`, port))
		g.eventually(t, "push", 30*time.Second, g.succeeds("docker tag "+image+" "+name+" && docker push -q "+name))
		g.sh(t, "docker rmi -f %s %s", name, image)
		g.sh(t, "docker run --rm --pull always -q %s true", name)
	})
}

// daemonJSON writes the user's daemon.json for one test and has it read.
func (g *guest) daemonJSON(t *testing.T, content string) {
	t.Helper()
	reload := func() { g.root(t, "system-docker kill -s HUP docker") }
	r := g.pipe(t, "sudo tee /etc/docker/daemon.json", bytes.NewBufferString(content))
	if r.Exit != 0 {
		t.Fatal(r.Stderr)
	}
	t.Cleanup(func() {
		g.root(t, "rm -f /etc/docker/daemon.json")
		reload()
	})
	reload()
}

func TestContainersKeepTheirPromises(t *testing.T) {
	g := sharedGuest(t)
	g.clean(t)
	g.needImage(t)

	t.Run("volume", func(t *testing.T) {
		t.Cleanup(func() { g.try(t, "docker volume rm cargo") })
		g.sh(t, "docker run --rm -v cargo:/data %s sh -c 'echo tea > /data/hold'", image)
		if got := g.sh(t, "docker run --rm -v cargo:/data %s cat /data/hold", image); got != "tea" {
			t.Errorf("volume holds %q; want tea", got)
		}
	})
	t.Run("healthcheck", func(t *testing.T) {
		g.sh(t, "docker run -d --name well --health-cmd true --health-interval 1s %s sleep 1000", image)
		g.eventually(t, "container is healthy", 20*time.Second, func() error {
			if got := g.sh(t, "docker inspect -f '{{.State.Health.Status}}' well"); got != "healthy" {
				return fmt.Errorf("health is %s", got)
			}
			return nil
		})
	})
	t.Run("restart policy", func(t *testing.T) {
		g.sh(t, "docker run -d --name again --restart on-failure:2 %s false", image)
		g.eventually(t, "two restarts", 20*time.Second, func() error {
			if got := g.sh(t, "docker inspect -f '{{.RestartCount}} {{.State.Status}}' again"); got != "2 exited" {
				return fmt.Errorf("restarts and state are %q", got)
			}
			return nil
		})
	})
	t.Run("privileged", func(t *testing.T) {
		g.sh(t, "docker run --rm --privileged %s sh -c 'mkdir /m && mount -t tmpfs none /m'", image)
	})
	t.Run("limits", func(t *testing.T) {
		got := g.sh(t, "docker run --rm -m 64m --cpus 0.5 --pids-limit 50 %s cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max /sys/fs/cgroup/pids.max", image)
		if want := "67108864\n50000 100000\n50"; got != want {
			t.Errorf("limits = %q; want %q", got, want)
		}
	})
	t.Run("uid 1000 has no capabilities", func(t *testing.T) {
		if got := g.sh(t, "docker run --rm -u 1000 %s grep CapEff /proc/self/status", image); !strings.HasSuffix(got, "0000000000000000") {
			t.Errorf("capabilities = %q; want none", got)
		}
	})
}
