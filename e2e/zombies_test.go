package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Containers leave nothing behind: no zombie, no file descriptor, thread or
// goroutine in PID 1, no memory.
func TestNoZombies(t *testing.T) {
	g := sharedGuest(t)
	g.needImage(t)
	if g.try(t, "sudo system-docker image inspect "+image).Exit != 0 {
		g.importImage(t, "sudo system-docker", image)
	}
	t.Cleanup(func() { g.try(t, "sudo system-docker rmi -f "+image) })

	tests := []struct {
		docker string
		runs   int
	}{
		{"docker", times(6, 1000)},
		{"sudo system-docker", times(3, 200)},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%d %s runs", tt.runs, tt.docker), func(t *testing.T) {
			run := func(n int) {
				const batch = 12 // a command stays within its deadline
				for left := n; left > 0; left -= batch {
					if left != n && (n-left)%(10*batch) == 0 {
						t.Logf("%d runs of %d", n-left, n)
					}
					g.sh(t, "seq %d | xargs -P 3 -I{} %s run --rm --network none %s true", min(left, batch), tt.docker, image)
				}
			}
			run(times(3, 5)) // what grows once, such as caches and pools, has grown
			before := g.usage(t)
			run(tt.runs)
			g.eventually(t, "no zombies", 15*time.Second, func() error {
				if z := g.root(t, `ps -eo stat=,ppid=,pid=,comm= | grep '^Z' || true`); z != "" {
					return fmt.Errorf("zombies:\n%s", z)
				}
				return nil
			})
			// A health check that runs just now has some of its own; what leaks stays.
			g.eventually(t, "PID 1 uses what it did before", 30*time.Second, func() error {
				after := g.usage(t)
				t.Logf("before %+v, after %+v", before, after)
				return after.more(before)
			})
		})
	}
}

// usage is what PID 1 and the machine use.
type usage struct{ files, threads, goroutines, memoryKB int }

// more says what a use of PID 1 has beyond one from before, and a little more.
func (u usage) more(before usage) error {
	switch {
	case u.files > before.files+5:
		return fmt.Errorf("PID 1 has %d open files, %d before", u.files, before.files)
	case u.threads > before.threads+5:
		return fmt.Errorf("PID 1 has %d threads, %d before", u.threads, before.threads)
	case u.goroutines > before.goroutines+10:
		return fmt.Errorf("PID 1 has %d goroutines, %d before", u.goroutines, before.goroutines)
	case u.memoryKB > before.memoryKB*11/10:
		return fmt.Errorf("%d kB of memory are in use, %d before; want at most 10 %% more", u.memoryKB, before.memoryKB)
	}
	return nil
}

// usage measures, with the page cache's dirty part written first.
func (g *guest) usage(t *testing.T) usage {
	t.Helper()
	out := g.root(t, `sync; ls /proc/1/fd | wc -l; ls /proc/1/task | wc -l
		system-docker info --format '{{.NGoroutines}}'
		awk '/^MemTotal/ {t=$2} /^MemAvailable/ {a=$2} END {print t-a}' /proc/meminfo`)
	var n [4]int
	for i, field := range strings.Fields(out) {
		v, err := strconv.Atoi(field)
		if err != nil || i >= len(n) {
			t.Fatalf("usage: %q", out)
		}
		n[i] = v
	}
	return usage{files: n[0], threads: n[1], goroutines: n[2], memoryKB: n[3]}
}
