package e2e

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-os/bulkhead/e2e/qemutest"
)

// recovery is how long anything may be away after it was killed.
const recovery = 15 * time.Second

// Whatever process is killed, the system is whole again by itself, and user
// containers do not notice unless it was theirs.
func TestKillAnything(t *testing.T) {
	g := sharedGuest(t)
	g.clean(t)
	g.needImage(t)
	g.awaitHealthy(t, 60*time.Second)
	workload := func(name string) string { return g.sh(t, "docker inspect -f '{{.State.Pid}}' %s", name) }
	g.sh(t, "docker run -d --name stays %s sleep 100000", image)
	g.sh(t, "docker run -d --name returns --restart always %s sleep 100000", image)
	pid := workload("stays")

	// In the docker container and among the user's shims are the user tier's
	// processes, and no other.
	const tier = `for p in $(pgrep -x %s); do [ $p != 1 ] && %s grep -q -e "$(system-docker inspect -f '{{.Id}}' docker)" -e /user-tier/shims/ /proc/$p/cgroup && echo $p; done; true`
	tests := []struct {
		name, victim string
	}{
		{"user dockerd", fmt.Sprintf(tier, "dockerd", "")},
		{"user containerd", fmt.Sprintf(tier, "containerd", "")},
		{"system containerd", fmt.Sprintf(tier, "containerd", "!")},
		{"a shim of user Docker", `pgrep -f "containerd-shim.*$(docker inspect -f '{{.Id}}' returns)"`},
		{"a shim of system Docker", `ps -o ppid= -p "$(system-docker inspect -f '{{.State.Pid}}' ntp)"`},
	}
	for _, s := range times([]string{"console", "docker", "udev"}, services) {
		tests = append(tests, struct{ name, victim string }{"main process of " + s, "system-docker inspect -f '{{.State.Pid}}' " + s})
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			victim := strings.Fields(g.root(t, "%s", tt.victim))
			if len(victim) == 0 {
				t.Fatalf("no such process: %s", tt.victim)
			}
			killed := time.Now()
			// The command may die with the console that runs it.
			_, _ = g.output("sudo kill -9 " + victim[0])
			g.eventually(t, "recovery after kill -9 of "+tt.name, recovery, func() error {
				if err := g.succeeds("docker exec returns true")(); err != nil {
					return err
				}
				list, err := g.output("sudo system-docker ps --format '{{.Names}}'")
				if err != nil {
					return err
				}
				return running(list)
			})
			t.Logf("whole again after %.1f s", time.Since(killed).Seconds())
			if got := workload("stays"); got != pid {
				t.Errorf("process of the workload = %s; want %s as before", got, pid)
			}
		})
	}
	g.sh(t, "docker run --rm %s true", image)
	g.awaitHealthy(t, 90*time.Second)
}

// running says which services are missing in a list of names.
func running(list string) error {
	names := strings.Fields(list)
	for _, s := range services {
		if !slices.Contains(names, s) {
			return fmt.Errorf("service %s does not run", s)
		}
	}
	return nil
}

// Mistakes are named, on the disk that configures a machine, in its own files
// and in those of both daemons, and the machine is reachable.
func TestMistakes(t *testing.T) {
	t.Parallel()
	iso := artifact(t, isoName)
	seed := brokenSeed(t, mistakesOnDisk)
	state := stateDisk(t, map[string]string{
		"etc/docker/system-docker.json":         `{"no-such-key": 1}`,
		"etc/docker/daemon.json":                `{"log-level": `,
		"var/lib/rancher/conf/cloud-config.yml": "#cloud-config\nrancher: {console: nowhere}\n",
	})
	allow := regexp.MustCompile(`bulkhead: FAILED|daemon\.json|system-docker\.json`)
	o := seed.in(qemutest.Options{ISO: iso, Disks: []qemutest.Disk{{Path: state}}})
	g := &guest{VM: qemutest.StartT(t, o, allow), key: seed.key}
	if user, err := g.awaitSystem(0); err != nil || user != "not ready" {
		t.Fatalf("user Docker %s, error %v; want not ready and none", user, err)
	}

	t.Run("on the configuration disk", func(t *testing.T) { g.checkNamed(t, mistakesOnDisk, onDisk) })
	t.Run("in both daemon.json, at boot", func(t *testing.T) {
		said := strings.Join(g.Console.Since(0), "\n")
		for _, cause := range []string{"system-docker.json", "no-such-key", "daemon.json", "System Docker has no console nowhere"} {
			if !strings.Contains(said, cause) {
				t.Errorf("the console does not say %q", cause)
			}
		}
		g.root(t, "system-docker info")
		g.root(t, "rm /etc/docker/daemon.json")
		g.eventually(t, "user Docker starts by itself once the file is right", 60*time.Second, g.succeeds("docker info"))
	})
	t.Run("in the user's daemon.json, while the system runs", func(t *testing.T) {
		mark := g.Console.Mark()
		g.root(t, `echo '{"log-level": "chatty"}' > /etc/docker/daemon.json; system-docker restart docker`)
		if _, err := g.AwaitConsole("cause on the console", 60*time.Second, mark, regexp.MustCompile(`daemon\.json.*chatty|chatty.*daemon\.json`)); err != nil {
			t.Fatal(err)
		}
		g.root(t, "system-docker ps")
		g.root(t, "rm /etc/docker/daemon.json; system-docker restart docker")
		g.eventually(t, "user Docker answers", 60*time.Second, g.succeeds("docker info"))
	})
	if !testing.Short() {
		t.Run("in ten files, at a later boot", func(t *testing.T) {
			g.leaveMistakes(t, mistakesAtRunTime)
			if err := g.restart(t, func() { g.try(t, "sudo reboot") }); err != nil {
				t.Fatal(err)
			}
			g.checkNamed(t, mistakesAtRunTime, atRunTime)
		})
	}
	t.Run("Ctrl-Alt-Del", func(t *testing.T) {
		if _, err := g.reset(t, func() { g.ctrlAltDel(t) }); err != nil {
			t.Fatal(err)
		}
	})
}

// stateDisk makes a state disk that holds files, by their path in it, for one
// test.
func stateDisk(t *testing.T, files map[string]string) string {
	t.Helper()
	qemutest.Need(t, "mkfs.ext4", "dumpe2fs")
	path := filepath.Join(t.TempDir(), "state.img")
	if err := qemutest.MakeExt4(t.Context(), path, "RANCHER_STATE", 8<<10, files); err != nil {
		t.Fatal(err)
	}
	return path
}
