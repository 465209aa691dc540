package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestTwoTiers(t *testing.T) {
	g := sharedGuest(t)

	t.Run("PID 1 is dockerd", func(t *testing.T) {
		if got := g.sh(t, "cat /proc/1/comm"); got != "dockerd" {
			t.Errorf("/proc/1/comm = %q; want dockerd", got)
		}
	})
	t.Run("one engine version, two engines", func(t *testing.T) {
		const format = `info --format "{{.ServerVersion}} {{.ID}}"`
		system, systemID, _ := strings.Cut(g.root(t, "system-docker "+format), " ")
		user, userID, _ := strings.Cut(g.sh(t, "docker "+format), " ")
		if system != user || !strings.HasPrefix(system, "29.") {
			t.Errorf("versions: system %q, user %q; want the same 29.x", system, user)
		}
		if systemID == "" || systemID == userID {
			t.Errorf("IDs: system %q, user %q; want two", systemID, userID)
		}
	})
	t.Run("system Docker is for root", func(t *testing.T) {
		if r := g.try(t, "DOCKER_HOST=unix:///var/run/system-docker.sock docker ps"); r.Exit == 0 {
			t.Error("rancher can use system Docker without sudo")
		}
		if got := g.root(t, "stat -c '%%a %%U %%G' -L /var/run/system-docker.sock /var/run/docker.sock"); got != "600 root root\n660 root docker" {
			t.Errorf("sockets are %q; want 600 root root, 660 root docker", got)
		}
	})
	t.Run("every service is healthy", func(t *testing.T) {
		g.awaitHealthy(t, 30*time.Second)
	})
	t.Run("every listening socket belongs to a named container", func(t *testing.T) {
		owner := make(map[string]string) // container ID → name
		for line := range strings.Lines(g.root(t, "system-docker ps --no-trunc --format '{{.ID}} {{.Names}}'")) {
			id, name, _ := strings.Cut(strings.TrimSpace(line), " ")
			owner[id] = name
		}
		for line := range strings.Lines(g.root(t, "ss -Hltnup")) {
			name, err := socketOwner(line, owner, func(pid string) string {
				return g.root(t, "cat /proc/%s/cgroup", pid)
			})
			if err != nil {
				t.Error(err)
				continue
			}
			t.Logf("%-10s %s", name, strings.TrimSpace(line))
		}
	})
	t.Run("the boot report has times and steps", func(t *testing.T) {
		for _, key := range []string{"system_docker", "user_docker", "ready", "steps"} {
			if got := g.sh(t, "jq .%s /run/bulkhead/boot.json", key); got == "null" || got == "0" || got == "[]" {
				t.Errorf("boot.json: %s = %s", key, got)
			}
		}
	})
}

var (
	socketPID       = regexp.MustCompile(`pid=(\d+)`)
	cgroupContainer = regexp.MustCompile(`[0-9a-f]{64}`)
)

// socketOwner returns the name of the container in whose cgroup the process
// behind a line of ss is.
func socketOwner(line string, owner map[string]string, cgroup func(pid string) string) (string, error) {
	m := socketPID.FindStringSubmatch(line)
	if m == nil {
		return "", fmt.Errorf("no process listens on %s", line)
	}
	path := cgroup(m[1])
	name := owner[cgroupContainer.FindString(path)]
	if name == "" {
		return "", fmt.Errorf("process %s in cgroup %q, which listens, is in no system container: %s", m[1], path, line)
	}
	return name, nil
}
