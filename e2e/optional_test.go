package e2e

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-os/bulkhead/e2e/qemutest"
)

// Services that are not on the medium come as archives, and do what they are for.
func TestOptionalServices(t *testing.T) {
	g := sharedGuest(t)
	g.clean(t)
	g.needImage(t)
	base := serve(t, http.FileServer(http.Dir(artifacts()+"/services")))
	enable := func(t *testing.T, name string) {
		t.Helper()
		artifact(t, "services/"+name+".tar.zst")
		g.sh(t, "cd /tmp && curl -sfO %[1]s/%[2]s.tar.zst && sudo ros service enable %[2]s.tar.zst && rm %[2]s.tar.zst", base, name)
		t.Cleanup(func() {
			g.sh(t, "sudo ros service delete %[1]s && sudo system-docker rmi docker.io/bulkhead/%[1]s:$(ros os version)", name)
		})
	}

	t.Run("without its archive", func(t *testing.T) {
		r := g.try(t, "sudo ros service enable docker-compose")
		if want := "sudo ros service enable docker-compose.tar.zst loads it"; r.Exit != 1 || !strings.Contains(r.Stderr, want) {
			t.Errorf("enable: %+v; want exit code 1 and %q", r, want)
		}
	})
	t.Run("docker-compose", func(t *testing.T) {
		enable(t, "docker-compose")
		g.sh(t, "mkdir -p /tmp/shop")
		g.put(t, "/tmp/shop/compose.yml", `services:
  web: {image: '`+image+`', command: sh -c 'echo ahoy >/srv/index.html; exec httpd -f -h /srv', volumes: ['site:/srv'], ports: ['8090:80']}
volumes: {site: {}}
`)
		g.sh(t, "cd /tmp/shop && docker compose up -d --quiet-pull")
		g.eventually(t, "the project answers", time.Minute, g.succeeds("curl -sf http://127.0.0.1:8090/ | grep -qx ahoy"))
		g.sh(t, "cd /tmp/shop && docker compose ps --status running | grep -q shop-web-1 && docker compose down --volumes --timeout 0 && rm -r /tmp/shop")
	})
	if full() { // It gets into its place as docker-compose does.
		t.Run("buildx", func(t *testing.T) { enable(t, "buildx"); g.checkBuildx(t) })
	}
	t.Run("qemu-guest-agent", func(t *testing.T) {
		enable(t, "qemu-guest-agent")
		ctx, cancel := context.WithTimeout(t.Context(), qemutest.Scaled(time.Minute))
		defer cancel()
		agent, err := qemutest.DialAgent(ctx, g.Dir)
		if err != nil {
			t.Fatal(err)
		}
		defer agent.Close()
		var interfaces []struct {
			Name      string `json:"name"`
			Addresses []struct {
				Address string `json:"ip-address"`
			} `json:"ip-addresses"`
		}
		if err := agent.Execute(ctx, "guest-network-get-interfaces", nil, &interfaces); err != nil {
			t.Fatal(err)
		}
		addresses := make(map[string]bool)
		for _, i := range interfaces {
			for _, a := range i.Addresses {
				addresses[i.Name+" "+a.Address] = true
			}
		}
		if !addresses["eth0 10.0.2.15"] {
			t.Errorf("addresses: %v; want that of eth0", addresses)
		}
		var system struct {
			ID string `json:"id"`
		}
		if err := agent.Execute(ctx, "guest-get-osinfo", nil, &system); err != nil || system.ID != "bulkhead" {
			t.Errorf("system: %+v, %v", system, err)
		}
		if err := agent.Execute(ctx, "guest-exec", map[string]string{"path": "id"}, nil); err == nil {
			t.Error("guest-exec is carried out, in the container of the agent")
		}
	})
}

// checkBuildx builds with what only BuildKit has.
func (g *guest) checkBuildx(t *testing.T) {
	t.Helper()
	got := g.sh(t, `mkdir /tmp/ship && cd /tmp/ship && printf 'FROM `+image+`\nRUN --mount=type=cache,target=/c echo ahoy >/ship\nCMD cat /ship\n' >Dockerfile &&
		docker buildx build --quiet --load --tag ship . >/dev/null && docker run --rm ship; docker rmi ship >/dev/null; rm -r /tmp/ship`)
	if got != "ahoy" {
		t.Errorf("what was built says %q", got)
	}
}
