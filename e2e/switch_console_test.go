package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-os/bulkhead/e2e/qemutest"
)

// People change the console they work in: nothing of the old one stays, they
// can log in to the new one soon, and user containers do not notice. Without
// any console the rest works on, and there is a way in.
func TestConsoleSwitch(t *testing.T) {
	g := sharedGuest(t)
	g.clean(t)
	g.needImage(t)
	t.Cleanup(func() {
		g.try(t, "sudo ros config delete rancher.console; sudo system-docker rmi -f e2e/console:other")
		g.awaitHealthy(t, 90*time.Second)
	})
	other := g.shippedImage(t, "console").derive(t, "e2e/console:other",
		map[string]program{"/usr/bin/e2e-other-console": program("#!/bin/sh\n")}, map[string]string{"io.bulkhead.console": "other"})
	g.bring(t, other, "/tmp/other.tar")
	g.root(t, "system-docker load -qi /tmp/other.tar")
	g.awaitHealthy(t, 90*time.Second)
	g.sh(t, "docker run -d --name stays -p 8081:80 %s sleep 100000", image)
	// A way to the machine that needs no console.
	g.sh(t, "docker run -d --name way -p 9000:9000 --privileged --pid host %s nc -ll -p 9000 -e /bin/sh", image)
	way, err := g.Forward(t.Context(), 9000)
	if err != nil {
		t.Fatal(err)
	}
	workloads := func() string { return g.sh(t, "docker inspect -f '{{.Name}} {{.State.Pid}}' stays way") }
	before := workloads()
	var processes []string
	g.eventually(t, "twice the same processes", time.Minute, func() error {
		processes = g.processes(t)
		zombie := slices.ContainsFunc(processes, func(p string) bool { return strings.HasSuffix(p, "(zombie)") })
		if zombie || !slices.Equal(processes, g.processes(t)) {
			return errors.New("some come and go")
		}
		return nil
	})

	// check looks at what must be so after a switch.
	check := func(t *testing.T, name string) {
		t.Helper()
		runs := "shipped"
		if name == "other" {
			runs = other.short()
			g.sh(t, "test -x /usr/bin/e2e-other-console")
		}
		g.eventually(t, "console "+name+" is healthy", time.Minute, func() error { return g.runsFrom("console", runs) })
		g.eventually(t, "the switch is done", 30*time.Second, g.succeeds("sudo ros config get rancher.console | grep -qx "+name))
		if got := g.root(t, "ros console list | awk '$1 == \"*\" {print $2, $4}'"); got != name+" yes" {
			t.Errorf("console that runs, and is the next boot's: %q; want %q", got, name+" yes")
		}
		g.sh(t, "grep -qx ID=bulkhead /etc/os-release")
		if got := workloads(); got != before {
			t.Errorf("containers and processes were\n%s\nnow\n%s", before, got)
		}
		g.eventually(t, "no process is left over or missing", 20*time.Second, func() error {
			if now := g.processes(t); !slices.Equal(now, processes) {
				return fmt.Errorf("processes were\n%s\nnow\n%s", strings.Join(processes, "\n"), strings.Join(now, "\n"))
			}
			return nil
		})
	}
	for i := range times(1, 50) {
		name := []string{"other", "default"}[i%2]
		t.Run(fmt.Sprintf("%d to %s", i, name), func(t *testing.T) {
			old := g.root(t, "system-docker inspect -f '{{.Id}}' console")
			// What people leave running ends with the console.
			g.root(t, "setsid sleep 54321 </dev/null >/dev/null 2>&1 &")
			t.Logf("ssh after %.1f s", g.switchConsole(t, name).Seconds())
			check(t, name)
			if left := g.root(t, "pgrep -fx 'sleep 54321'; grep -ls %s /proc/[0-9]*/cgroup || true", old); left != "" {
				t.Errorf("left of the old console: %s", left)
			}
		})
	}
	if testing.Short() {
		return
	}
	t.Run("to none and back", func(t *testing.T) {
		if r := g.try(t, "sudo ros console switch none"); r.Exit != 2 || !strings.Contains(r.Stderr, "rancher.console=default") {
			t.Errorf("switch without --yes: exit code %d, %s", r.Exit, r.Stderr)
		}
		_, _ = g.output("sudo ros console switch --yes none")
		inside := func(command string) (string, error) {
			return askShell(t.Context(), way, "nsenter -t 1 -m -u -n -i "+command+"; exit\n")
		}
		ros := "/bulkhead/ros/bin/ros "
		g.eventually(t, "there is no console", time.Minute, func() error {
			said, err := inside(ros + "console list")
			if err == nil && !strings.Contains(said, "*   none") {
				err = errors.New(said)
			}
			return err
		})
		for _, tt := range []struct{ how, command string }{
			{"a new console", ros + "console exec sh -c 'echo tools: $(command -v visudo)'"},
			{"without System Docker", "unshare -m sh -c \"mount --bind /dev/null /run/system-docker.sock; " + ros + "console exec sh -c 'echo tools: \\$(command -v visudo)'\""},
		} {
			if said, err := inside(tt.command + " 2>&1"); err != nil || !strings.Contains(said, "tools: /usr/sbin/visudo") {
				t.Errorf("%s: %v\n%s", tt.how, err, said)
			}
		}
		if said, err := inside(ros + "console switch --yes default"); err != nil {
			t.Errorf("%v\n%s", err, said)
		}
		check(t, "default")
	})
}

// switchConsole switches, and returns how long nobody could log in.
func (g *guest) switchConsole(t *testing.T, name string) time.Duration {
	t.Helper()
	if _, err := g.output("sudo ros console switch --yes " + name); err == nil {
		t.Error("the session has outlived the console")
	}
	ended := time.Now()
	client, err := g.AwaitSSH(recovery, qemutest.LoginKey("rancher", g.key))
	if err != nil {
		t.Fatal(err)
	}
	g.client.Close()
	g.client = client
	return time.Since(ended)
}

// processes are those of the machine by name, without what comes and goes.
func (g *guest) processes(t *testing.T) []string {
	t.Helper()
	list := g.root(t, `ps -eo ppid=,pid=,stat=,comm= | awk '
		$1 == 2 || $2 == 2 { next }       # the kernel'\''s own
		$4 ~ /^\(udev-worker|^systemd-udevd|^runc|^exe$|^system-docker$/ { next }
		{ print $4 ($3 ~ /^Z/ ? " (zombie)" : "") }'`)
	names := strings.Split(list, "\n")
	slices.Sort(names)
	return names
}

// askShell sends a script to a shell behind a TCP port and returns what it
// prints.
func askShell(ctx context.Context, addr, script string) (string, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(qemutest.Scaled(30 * time.Second))); err != nil {
		return "", err
	}
	if _, err := io.WriteString(conn, script); err != nil {
		return "", err
	}
	said, err := io.ReadAll(conn)
	return string(said), err
}
