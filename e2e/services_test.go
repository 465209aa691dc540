package e2e

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"aead.dev/minisign"
)

// listedService is a line of ros service list --json.
type listedService struct{ Name, State, Health, Problem string }

// listed returns services with a name that begins with prefix.
func (g *guest) listed(prefix string) (map[string]listedService, error) {
	out, err := g.output("sudo ros service list --all --json")
	if err != nil {
		return nil, err
	}
	var list []listedService
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return nil, err
	}
	byName := make(map[string]listedService)
	for _, s := range list {
		if strings.HasPrefix(s.Name, prefix) {
			byName[s.Name] = s
		}
	}
	return byName, nil
}

// isListed checks the state of a service, and part of its problem.
func (g *guest) isListed(name, state, problem string) func() error {
	return func() error {
		list, err := g.listed(name)
		if s := list[name]; err == nil && (s.State != state || !strings.Contains(s.Problem, problem) || (problem == "") != (s.Problem == "")) {
			err = fmt.Errorf("service %s: %+v; want it %s, problem %q", name, s, state, problem)
		}
		return err
	}
}

// put writes a file in the machine.
func (g *guest) put(t *testing.T, path, text string) {
	t.Helper()
	if r := g.pipe(t, "cat > "+path, strings.NewReader(text)); r.Exit != 0 {
		t.Fatalf("write %s: %s", path, r.Stderr)
	}
}

// The services of files, addresses and the catalogue come and go; one that
// cannot run is named and keeps nothing from running.
func TestServices(t *testing.T) {
	g := sharedGuest(t)
	g.clean(t)
	g.needImage(t)
	before := g.root(t, "cat %s 2>/dev/null || true", cloudConfig)
	check := func(name, state, problem string) {
		t.Helper()
		if err := g.isListed(name, state, problem)(); err != nil {
			t.Error(err)
		}
	}

	t.Run("a file", func(t *testing.T) {
		g.put(t, "/tmp/shop.yml", `shop-web: {image: '`+image+`', command: sleep 100000, stop_grace_period: 1s, restart: always}
shop-lost: {image: '10.0.2.2:1/lost:1', restart: always}
`)
		r := g.try(t, "sudo ros service enable /tmp/shop.yml")
		if r.Exit != 1 || !strings.Contains(r.Stderr, "service shop-lost: pull image 10.0.2.2:1/lost:1") {
			t.Errorf("enable: %+v; want exit code 1 and the registry named", r)
		}
		check("shop-web", "running", "")
		check("shop-lost", "missing", "10.0.2.2:1/lost:1")
		if got := g.sh(t, "sudo ros service plan | awk '{print $2, $3}'"); got != "SERVICE ACTION\nshop-lost pull-image\nshop-lost create-container\nshop-lost start-container" {
			t.Errorf("plan: %s", got)
		}
		g.sh(t, "docker rm -f shop-web && sudo ros service up shop-web && docker top shop-web")
		g.sh(t, "sudo ros service rm --force shop-web && ! docker inspect shop-web && sudo ros service create shop-web")
		check("shop-web", "created", "")
		g.sh(t, "sudo ros service up shop-web")
		check("shop-web", "running", "")
		g.put(t, "/tmp/bad.yml", "x: {imge: a}\n")
		if r := g.try(t, "sudo ros service enable /tmp/bad.yml"); r.Exit != 1 || !strings.Contains(r.Stderr, "did you mean image?") {
			t.Errorf("enable of a mistake: %+v", r)
		}
	})
	t.Run("what is stopped stays so", func(t *testing.T) {
		g.sh(t, "sudo ros service stop shop-web")
		check("shop-web", "stopped", "")
		// Its daemon does not start it at the next boot, nor does an orchestrator.
		if got := g.sh(t, "docker inspect -f '{{.HostConfig.RestartPolicy.Name}}' shop-web"); got != "no" {
			t.Errorf("restart policy = %q; want no", got)
		}
		g.root(t, "kill -9 $(pgrep -xf '.*/orchestrator')")
		g.eventually(t, "orchestrator answers", recovery, g.succeeds("sudo ros service up shop-web"))
		check("shop-web", "stopped", "")
		g.sh(t, "sudo ros service start shop-web")
		check("shop-web", "running", "")
		if got := g.sh(t, "docker inspect -f '{{.HostConfig.RestartPolicy.Name}}' shop-web"); got != "always" {
			t.Errorf("restart policy = %q; want always again", got)
		}
	})
	t.Run("off and away", func(t *testing.T) {
		g.sh(t, "sudo ros service disable shop")
		check("shop-web", "disabled", "")
		check("shop-lost", "disabled", "")
		g.sh(t, "sudo ros service delete shop && ! docker inspect shop-web && ! sudo ls /var/lib/rancher/conf/services/shop.yml")
	})
	t.Run("at its times", func(t *testing.T) {
		g.put(t, "/tmp/clock.yml", `clock: {image: '`+image+`', command: echo tick, labels: {cron.schedule: '*/3 * * * * *', io.rancher.os.createonly: 'true'}}
`)
		g.sh(t, "sudo ros service enable /tmp/clock.yml")
		g.eventually(t, "third tick", time.Minute, g.succeeds("test $(docker logs clock | grep -c tick) -ge 3"))
		g.sh(t, "sudo ros service stop clock")
		before := g.sh(t, "docker logs clock | wc -l")
		// Two of its times later.
		if after := g.sh(t, "sleep 7; docker logs clock | wc -l"); after != before {
			t.Errorf("stopped, it has run %s times, then %s", before, after)
		}
		g.sh(t, "sudo ros service delete clock")
	})
	t.Run("a build", func(t *testing.T) {
		g.put(t, "/tmp/Dockerfile", "FROM "+image+"\nARG WORD\nRUN echo $WORD >/word\n")
		g.put(t, "/tmp/built.yml", `built: {image: 'built:e2e', build: {context: /tmp/site, args: {WORD: ahoy}}, command: cat /word}
`)
		r := g.try(t, "mkdir /tmp/site && mv /tmp/Dockerfile /tmp/site && sudo ros service enable /tmp/built.yml")
		if r.Exit != 1 || !strings.Contains(r.Stderr, "ros service build built") {
			t.Errorf("enable before its image is there: %+v", r)
		}
		if got := g.sh(t, "sudo ros service build built >/dev/null 2>&1 && sudo ros service up built && docker wait built && docker logs built"); got != "0\nahoy" {
			t.Errorf("what was built says %q", got)
		}
		g.sh(t, "sudo ros service delete built && docker rmi built:e2e && rm -r /tmp/site")
	})
	t.Run("an address", func(t *testing.T) {
		base := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			// The types of many a file for RancherOS.
			_, _ = io.WriteString(w, `far:
  image: `+image+`
  command: [sleep, 100000]
  stop_grace_period: 1s
  cpu_shares: "512"
  mem_limit: 134217728
  memswap_limit: "-1"
  environment: {A: 1, B: true, C: 1.5, D: null}
  labels: {number: 1, truth: true}
  ports: [80, "8089:80"]
  expose: [80]
  log_opt: {max-size: 10m, max-file: 3}
  read_only: "yes"
`)
		}))
		g.sh(t, "sudo ros service enable %s/far.yml", base)
		if got, want := g.sh(t, "docker exec far sh -c 'echo $A $B $C; cat /sys/fs/cgroup/memory.max'"), "1 true 1.5\n134217728"; got != want {
			t.Errorf("the service sees %q; want %q", got, want)
		}
		g.sh(t, "sudo ros service delete far && ! docker inspect far")
	})
	t.Run("a signed catalogue", func(t *testing.T) {
		public, private, err := minisign.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		text := []byte("serial: 1\nentries: {sail: {description: moves, services: {sail: {image: '" + image + "@" + g.sh(t, "docker inspect -f '{{.Id}}' "+image) + "', pull_policy: never, command: sleep 100000, stop_grace_period: 1s}}}}\n")
		signature := minisign.Sign(private, text)
		var forged atomic.Bool
		base := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case strings.HasSuffix(r.URL.Path, ".minisig"):
				_, _ = w.Write(signature)
			case forged.Load():
				_, _ = w.Write(append(text, "# more\n"...))
			default:
				_, _ = w.Write(text)
			}
		}))
		g.sh(t, "sudo ros config set rancher.repositories.core '{url: %s/c.yml, public_key: %s}' && sudo ros service refresh", base, public)
		forged.Store(true)
		if r := g.try(t, "sudo ros service refresh"); r.Exit != 1 || !strings.Contains(r.Stderr, "it is not signed with public_key") {
			t.Errorf("refresh of a forged catalogue: %+v", r)
		}
		check("sail", "available", "")
		g.sh(t, "sudo ros service enable sail && docker top sail && sudo ros service delete sail && sudo ros config delete rancher.repositories")
	})
	t.Run("the catalogue", func(t *testing.T) {
		check("node-exporter", "available", "")
		g.sh(t, "sudo ros service enable node-exporter")
		g.eventually(t, "node-exporter is healthy", time.Minute, func() error {
			list, err := g.listed("node-exporter")
			if err == nil && list["node-exporter"].Health != "healthy" {
				err = fmt.Errorf("%+v", list)
			}
			return err
		})
		if got := g.sh(t, "curl -sf http://127.0.0.1:9100/metrics | grep -c -e '^node_memory_MemTotal_bytes ' -e '^node_filesystem_avail_bytes{' -e '^node_network_receive_bytes_total{device=.eth0.}'"); got != "3" {
			t.Errorf("metrics: %s of 3", got)
		}
		g.sh(t, "sudo ros service delete node-exporter")
		check("node-exporter", "available", "")
	})
	if !testing.Short() {
		t.Run("many at once", g.checkMany)
	}
	if after := g.root(t, "cat %s 2>/dev/null || true", cloudConfig); after != before && after != "#cloud-config" {
		t.Errorf("configuration after it all:\n%s\nwant\n%s", after, before)
	}
}

// checkMany starts many services at once, beside which the orchestrator stays
// small.
func (g *guest) checkMany(t *testing.T) {
	const aim = 15 << 10 // KiB that the orchestrator may have, its share of the program's file included
	const many = 100
	var file strings.Builder
	for i := range many {
		fmt.Fprintf(&file, "many-%d: {image: '%s', command: sleep 100000, stop_grace_period: 0s, net: none}\n", i, image)
	}
	g.put(t, "/tmp/many.yml", file.String())
	began := time.Now()
	g.root(t, "ros service enable /tmp/many.yml > /tmp/many.log 2>&1 &")
	g.eventually(t, fmt.Sprintf("%d services run", many), 4*time.Minute, func() error {
		out, err := g.output("docker ps -q --filter name=many- | wc -l")
		if n, _ := strconv.Atoi(strings.TrimSpace(out)); err == nil && n != many {
			err = fmt.Errorf("%d run", n)
		}
		return err
	})
	t.Logf("%d services run after %.1f s", many, time.Since(began).Seconds())
	g.eventually(t, "the orchestrator is small", 30*time.Second, func() error {
		out, err := g.output("sudo awk '/^Pss:/ {print $2}' /proc/$(pgrep -xf '.*/orchestrator')/smaps_rollup")
		n, _ := strconv.Atoi(strings.TrimSpace(out))
		if err == nil && (n == 0 || n > aim) {
			err = fmt.Errorf("it has %d KiB resident; want at most %d", n, aim)
		}
		if err == nil {
			t.Logf("the orchestrator has %d KiB resident", n)
		}
		return err
	})
	g.root(t, "ros service delete many > /tmp/many.log 2>&1 &")
	g.eventually(t, "they are gone", 4*time.Minute, g.succeeds("test -z \"$(docker ps -qa --filter name=many-)\" && ! sudo ls /var/lib/rancher/conf/services/many.yml"))
}
