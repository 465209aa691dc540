package e2e

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-os/bulkhead/e2e/qemutest"
)

// Nothing that people do through docker stops or slows the OS tier: what they
// cause is in one compartment. docs/security.md says which trial is tried where.
func TestTheBulkheadHolds(t *testing.T) {
	g := sharedGuest(t)
	g.clean(t)
	g.needImage(t)
	g.awaitHealthy(t, 90*time.Second)
	// Signals that containers send to others are refused, and that is told.
	defer g.Tolerate(regexp.MustCompile(`apparmor="DENIED" operation="signal" .* profile="docker-default"`))()
	g.sh(t, "docker run -d --name returns --restart always -p 20080:80 %s sleep 100000", image)

	t.Run("all that people cause is in one cgroup", func(t *testing.T) {
		g.sh(t, "docker run -d --name away --cgroup-parent=/elsewhere --cgroupns host %s sleep 100000", image)
		// One line per process: cgroup, PID namespace, command.
		list := g.root(t, `for p in /proc/[0-9]*; do [ -n "$(tr -d '\0' <$p/cmdline)" ] && echo "$(cut -d: -f3 $p/cgroup) $(readlink $p/ns/pid) $(cat $p/comm)"; done 2>/dev/null; true`)
		machine := g.root(t, "readlink /proc/1/ns/pid")
		inTier := make(map[string]bool)
		for line := range strings.Lines(list) {
			cgroup, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
			pids, command, _ := strings.Cut(rest, " ")
			switch {
			case strings.HasPrefix(cgroup, "/user-tier/"):
				inTier[command] = true
			case !strings.HasPrefix(cgroup, "/system/"):
				t.Errorf("%s is in %s, which is in no tier", command, cgroup)
			case pids != machine && command == "containerd-shim", pids != machine && command == "dockerd", command == "docker-proxy":
				t.Errorf("%s of the user tier is in %s", command, cgroup)
			}
		}
		for _, command := range []string{"dockerd", "containerd", "containerd-shim", "docker-proxy", "sleep"} {
			if !inTier[command] {
				t.Errorf("no %s is in the user tier:\n%s", command, list)
			}
		}
		if got := g.sh(t, "docker exec away cat /proc/self/cgroup"); !strings.HasPrefix(got, "0::/elsewhere/") {
			t.Errorf("with --cgroup-parent=/elsewhere --cgroupns host a container sees itself in %q", got)
		}
		if got := g.root(t, "cat /sys/fs/cgroup/user-tier/elsewhere/*/cgroup.procs | wc -l"); got == "0" {
			t.Error("no process is in /user-tier/elsewhere")
		}
	})
	t.Run("its limits are in force and shown", func(t *testing.T) {
		const files = "cd /sys/fs/cgroup; grep -H . user-tier/memory.max user-tier/memory.swap.max user-tier/pids.max user-tier/cpu.weight system/memory.min system/memory.low system/cpu.weight"
		limits := make(map[string]int64)
		for line := range strings.Lines(g.root(t, "%s", files)) {
			file, value, _ := strings.Cut(strings.TrimSpace(line), ":")
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				t.Errorf("%s is %q; want a number", file, value)
			}
			limits[file] = n
		}
		memory := g.number(t, "awk '/^MemTotal/ {print $2 * 1024}' /proc/meminfo")
		reserve := memory - limits["user-tier/memory.max"]
		if reserve < memory/16 || reserve > memory/4 || limits["system/memory.min"] <= 0 || limits["system/memory.low"] > reserve {
			t.Errorf("of %d bytes: %v", memory, limits)
		}
		if limits["system/cpu.weight"] <= limits["user-tier/cpu.weight"] {
			t.Errorf("weights: %v", limits)
		}
	})
	t.Run("the user tier dies first", func(t *testing.T) {
		score := func(docker, container string) int64 {
			return g.number(t, "sudo cat /proc/$(%s)/oom_score_adj", docker+" "+container)
		}
		for _, service := range []string{"network", "udev", "syslog", "ntp"} {
			if got := score("sudo system-docker inspect -f '{{.State.Pid}}'", service); got > -800 {
				t.Errorf("score of %s = %d; want -800", service, got)
			}
		}
		for _, command := range []string{"docker-proxy", "containerd-shim"} {
			list := g.root(t, `for p in $(pgrep %s); do grep -q ^0::/user-tier/ /proc/$p/cgroup && cat /proc/$p/oom_score_adj; done; true`, command)
			for _, text := range strings.Fields(list) {
				if got, err := strconv.Atoi(text); err != nil || got <= -800 {
					t.Errorf("score of %s = %s; want more than that of OS services", command, text)
				}
			}
		}
		if got := g.sh(t, "echo $(cat /proc/self/oom_score_adj)"); got != "0" {
			t.Errorf("score in a login = %s; want 0", got)
		}
	})
	t.Run("a login has limits", func(t *testing.T) {
		threads := g.number(t, "cat /proc/sys/kernel/threads-max")
		if got := g.number(t, "sh -c 'ulimit -p 2>/dev/null || ulimit -u'"); got <= 0 || got > threads/8 {
			t.Errorf("an account may have %d processes of %d", got, threads)
		}
		if got := g.sh(t, "sudo bash -c 'for i in 1 2 3; do sleep 0 & done; wait; echo fine'"); got != "fine" {
			t.Errorf("root: %s", got)
		}
	})
	t.Run("host namespaces are the tier's", func(t *testing.T) {
		list := g.sh(t, "docker run --rm --pid=host %s ps -o pid,args", image)
		if !strings.Contains(list, "dockerd --config-file") || strings.Contains(list, "rsyslogd") || strings.Contains(list, "sshd") {
			t.Errorf("with --pid=host a container sees\n%s", list)
		}
		ours := g.root(t, "readlink /proc/1/ns/ipc")
		if got := g.sh(t, "docker run --rm --ipc=host %s readlink /proc/self/ns/ipc", image); got == ours {
			t.Errorf("with --ipc=host a container has the machine's IPC namespace")
		}
		g.sh(t, "docker run --rm --privileged --cgroupns host %s sh -c 'test ! -e /sys/fs/cgroup/system && ! echo max >/sys/fs/cgroup/memory.max && ! echo $$ >/sys/fs/cgroup/../cgroup/system/cgroup.procs'", image)
	})
	t.Run("devices of the OS are out of reach", func(t *testing.T) {
		medium := g.sh(t, "findmnt -no SOURCE /bulkhead/medium")
		for _, command := range []string{
			"dd if=/dev/zero of=" + medium + " count=1", "dd if=" + medium + " of=/dev/null count=1", "head -c1 /dev/mem", "head -c1 /dev/port",
		} {
			if got := g.try(t, "docker run --rm --privileged "+image+" "+command); !strings.Contains(got.Stderr, "not permitted") {
				t.Errorf("%s: %s %s; want it refused", command, got.Stdout, got.Stderr)
			}
		}
		g.sh(t, "docker run --rm --privileged %s sh -c 'dd if=/dev/zero of=/disk bs=1M count=8 && losetup /dev/loop7 /disk && head -c1 /dev/loop7 >/dev/null && losetup -d /dev/loop7'", image)
	})
	t.Run("no container describes the machine", func(t *testing.T) {
		g.sh(t, "docker network create --subnet 169.254.169.0/24 md && docker run -d --name md --network md --ip 169.254.169.254 %s httpd -f -p 80", image)
		if got := g.try(t, "wget -T 5 -qO- http://169.254.169.254/ 2>&1"); strings.Contains(got.Stdout, "404") {
			t.Errorf("a container answers: %s", got.Stdout)
		}
		if link := g.sh(t, "ip route get 169.254.169.254"); !strings.Contains(link, "eth0") {
			t.Errorf("the way to the metadata: %s; want eth0", link)
		}
		g.sh(t, "docker rm -f md && docker network rm md")
	})
	t.Run("a plain container is confined", func(t *testing.T) {
		const label = "cat /proc/self/attr/current"
		for options, want := range map[string]string{
			"":                                       "docker-default (enforce)",
			"--pid=host --cap-add ALL":               "docker-default (enforce)",
			"--privileged":                           "unconfined",
			"--security-opt apparmor=unconfined":     "unconfined",
			"--security-opt apparmor=bulkhead-mount": "bulkhead-mount (enforce)",
		} {
			if got := g.sh(t, "docker run --rm %s %s %s", options, image, label); strings.Trim(got, "\x00\n") != want {
				t.Errorf("with %q a container is %q; want %s", options, got, want)
			}
		}
		if got := g.sh(t, "docker exec returns %s", label); got != "docker-default (enforce)" {
			t.Errorf("what joins a container is %q", got)
		}
		if got := g.sh(t, "docker info -f '{{.SecurityOptions}}'"); !strings.Contains(got, "name=apparmor") {
			t.Errorf("docker info: %s; want apparmor", got)
		}
		// Nobody else's processes, and no file systems, whatever the capabilities.
		for _, command := range []string{"--pid=host %s kill -0 1", "--cap-add SYS_ADMIN %s mount -t tmpfs none /dev/shm"} {
			if got := g.try(t, "docker run --rm "+fmt.Sprintf(command, image)); got.Exit == 0 || !refused.MatchString(got.Stderr) {
				t.Errorf("docker run %s: exit code %d, %s; want it refused", command, got.Exit, got.Stderr)
			}
		}
		if got := g.try(t, "apparmor_parser -r /etc/x"); got.Exit != 1 || !strings.Contains(got.Stderr, "no parser") {
			t.Errorf("apparmor_parser: exit code %d, %q", got.Exit, got.Stderr)
		}
	})
	t.Run("rules of the machine's own", func(t *testing.T) {
		if rules := g.root(t, "nft list table inet bulkhead"); !strings.Contains(rules, "dport 22 notrack") {
			t.Errorf("rules:\n%s", rules)
		}
	})

	// The user tier may fail. It may run out of memory, too, and alone.
	defer g.Tolerate(regexp.MustCompile(`bulkhead: FAILED step=user-docker/|Memory cgroup out of memory`))()
	for _, tt := range []struct {
		name, command, after string
		full                 bool
	}{
		{name: "kill -TERM 1", command: "docker run --rm --pid=host " + image + " kill -TERM 1"},
		{name: "kill -9 -1", command: "docker run --rm --pid=host " + image + " kill -9 -1"},
		{name: "reboot -f", command: "docker run --rm --pid=host --privileged " + image + " reboot -f"},
		{name: "a memory hog that leaves its cgroup", command: "timeout 60 docker run --rm --shm-size=8g --cgroup-parent=/elsewhere " + image +
			" sh -c 'dd if=/dev/zero of=/dev/shm/x bs=64k; tail /dev/zero'"},
		{name: "privileged memory hog", command: "timeout 60 docker run --rm --privileged --pid=host --oom-score-adj=-500 " + image + " tail /dev/zero", full: true},
		{name: "fork bomb", command: "timeout 60 docker run --rm --name bomb " + image + " sh -c 'b() { b | b & }; b; sleep 40'; docker rm -f bomb", full: true},
		{name: "a network with the machine's addresses", command: "docker network create --subnet $(ip -4 route show dev eth0 scope link | cut -d' ' -f1) lan",
			after: "docker network rm lan"},
		{name: "full /run/user-docker", command: "timeout 60 docker run --rm -v /run/user-docker:/x " + image + " sh -c 'cat /dev/zero >/x/fill; sleep 20; rm /x/fill'"},
		{name: "real-time processes", command: "docker run -d --name attack --ulimit rtprio=99 " + image +
			" chrt -f 99 sh -c 'for i in $(seq $(nproc)); do while :; do :; done & done; wait'", after: "docker rm -f attack"},
		{name: "connections to sshd", command: "docker run -d --name attack " + image +
			" sh -c 'for i in $(seq 250); do sleep 50 | nc $(ip route | sed -n \"s/default via \\([^ ]*\\).*/\\1/p\") 22 >/dev/null & done; wait'; sleep 20", after: "docker rm -f attack"},
		{name: "every address of a network", full: true, command: "docker run -d --name attack -v /usr:/usr:ro -v /lib:/lib:ro -v /lib64:/lib64:ro " + image +
			" /usr/bin/bash -c 'for i in {1..6}; do while :; do for x in {0..255}; do for y in {1..254}; do echo >/dev/udp/172.17.$x.$y/9; done; done; done & done; wait'; sleep 120",
			after: "docker rm -f attack; ! sudo dmesg | grep 'neighbor table overflow'"},
		{name: "1,000 published ports", full: true, command: "timeout 100 docker run -d --name attack -p 20000-20999:20000-20999 " + image + " sleep 1d", after: "docker rm -f attack"},
	} {
		if tt.full && testing.Short() {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			hull := g.afloat(t)
			g.try(t, tt.command) // how it ends does not matter
			hull.check(t)
			if tt.after != "" {
				g.sh(t, "%s", tt.after)
			}
			g.eventually(t, "user Docker is whole again", 60*time.Second, g.succeeds(
				"docker exec returns true && docker run --rm "+image+" true"))
		})
	}
	g.awaitHealthy(t, 90*time.Second)
}

// A hull is the OS tier as it was before somebody tried to sink it.
type hull struct {
	*guest
	state string
	idle  time.Duration
}

// afloat notes how the OS tier is.
func (g *guest) afloat(t *testing.T) hull {
	t.Helper()
	s := hull{guest: g}
	s.state, s.idle = s.look(t)
	return s
}

// look returns what must stay as it is, and how long system Docker takes for a
// list of its containers.
func (s hull) look(t *testing.T) (state string, took time.Duration) {
	t.Helper()
	state = s.root(t, "readlink /proc/1/ns/pid; cut -d' ' -f22 /proc/1/stat; grep oom_kill /sys/fs/cgroup/system/memory.events\n"+startedAt)
	var times []time.Duration
	for range 3 {
		began := time.Now()
		s.root(t, "system-docker ps")
		times = append(times, time.Since(began))
	}
	slices.Sort(times)
	return state, times[1]
}

// check says whether somebody can log in, and the OS tier is as it was.
func (s hull) check(t *testing.T) {
	t.Helper()
	client, err := s.AwaitSSH(10*time.Second, qemutest.LoginKey("rancher", s.key))
	if err != nil {
		t.Fatalf("a new login: %v", err)
	}
	client.Close()
	state, took := s.look(t)
	if state != s.state {
		t.Errorf("the OS tier was\n%s\nand is\n%s", s.state, state)
	}
	if took > 3*s.idle {
		t.Errorf("system-docker ps takes %s; it took %s", took, s.idle)
	}
}

// number is what a command prints.
func (g *guest) number(t *testing.T, format string, args ...any) int64 {
	t.Helper()
	text := g.sh(t, "%s", fmt.Sprintf(format, args...))
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", shorten(fmt.Sprintf(format, args...)), err)
	}
	return n
}

// What people see in their shell is what docker run -v mounts, and the other way
// round.
func TestOneFileTree(t *testing.T) {
	g := sharedGuest(t)
	g.clean(t)
	g.needImage(t)
	for _, dir := range []string{"/home", "/root", "/srv", "/data", "/opt", "/usr/local", "/var/tmp", "/mnt", "/media"} {
		t.Run(dir, func(t *testing.T) {
			own := dir + "/e2e tree"
			t.Cleanup(func() { g.try(t, "sudo rm -rf "+quote(own)) })
			g.root(t, "mkdir -p %s && echo people >%s", quote(own+"/a"), quote(own+"/a/said"))
			g.sh(t, "docker run --rm -v %s:/d %s sh -c 'grep -q people /d/said && echo container >/d/answered'", quote(own+"/a"), image)
			g.sh(t, "docker run --rm -v %s:/d %s sh -c 'echo made >/d/by'", quote(own+"/new"), image)
			if got := g.root(t, "cat %s %s", quote(own+"/a/answered"), quote(own+"/new/by")); got != "container\nmade" {
				t.Errorf("people see %q of what containers wrote", got)
			}
			g.root(t, "mkdir %[1]s && mount -t tmpfs none %[1]s && echo mounted >%[1]s/there", quote(own+"/m"))
			got := g.try(t, fmt.Sprintf("docker run --rm -v %s:/d %s cat /d/there", quote(own+"/m"), image))
			g.root(t, "umount %s", quote(own+"/m"))
			if got.Stdout != "mounted\n" {
				t.Errorf("of a mount of people's a container sees %q %s", got.Stdout, got.Stderr)
			}
		})
	}
	t.Run("files of the system", func(t *testing.T) {
		for _, file := range []string{"/etc/localtime", "/etc/resolv.conf", "/etc/hosts", "/etc/os-release", "/var/log/messages"} {
			want := g.root(t, "sha256sum <%s", file)
			if got := g.sh(t, "docker run --rm -v %s:/f:ro %s sha256sum </dev/null /f", file, image); strings.Fields(got)[0] != strings.Fields(want)[0] && file != "/var/log/messages" {
				t.Errorf("%s: a container has %s; want %s", file, got, want)
			}
		}
	})
}
