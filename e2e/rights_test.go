package e2e

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// refused is what programs say when the kernel does.
var refused = regexp.MustCompile(`(?i)permission denied|not permitted|read-only file system`)

// The services have the rights that they declare with a reason, and no others:
// what is forbidden is tried from inside.
func TestAudit(t *testing.T) {
	g := sharedGuest(t)
	var list []struct {
		Name   string
		Rights struct {
			Privileged bool
			CapAdd     []string `json:"cap_add"`
		}
		Labels []string
	}
	// The command fails if a right has no reason.
	if err := json.Unmarshal([]byte(g.root(t, "ros audit --json")), &list); err != nil {
		t.Fatal(err)
	}
	var names, privileged []string
	for _, s := range list {
		names = append(names, s.Name)
		if s.Rights.Privileged {
			privileged = append(privileged, s.Name)
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			pid := g.root(t, "system-docker inspect -f '{{.State.Pid}}' %s", s.Name)
			status := g.root(t, "grep -E '^(NoNewPrivs|Seccomp):' /proc/%s/status | tr -d '\\t' | tr '\\n' ' '", pid)
			for _, label := range s.Labels {
				if !strings.HasSuffix(label, " (enforce)") {
					t.Errorf("a process is %s; want it confined", label)
				}
			}
			if len(s.Labels) == 0 {
				t.Error("no process has a label")
			}
			if strings.TrimSpace(status) != "NoNewPrivs:1 Seccomp:2" {
				t.Errorf("main process has %s; want no new privileges, and a filter of system calls", status)
			}
			attempts := map[string]string{ // by the right that it takes
				"MKNOD":     "mknod /run/e2e b 8 0",
				"SYS_ADMIN": "mount -t tmpfs none /run",
				"SYS_TIME":  "date -s 2001-01-01",
				"NET_ADMIN": "ip link add e2e type dummy",
				"":          "touch /usr/bin/e2e",
			}
			for right, attempt := range attempts {
				if slices.Contains(s.Rights.CapAdd, right) {
					continue
				}
				r := g.try(t, "sudo system-docker exec "+s.Name+" "+attempt)
				if r.Exit == 0 || !refused.MatchString(r.Stdout+r.Stderr) {
					t.Errorf("%s in %s: exit code %d, %s%s; want it refused", attempt, s.Name, r.Exit, r.Stdout, r.Stderr)
				}
			}
		})
	}
	slices.Sort(names)
	if !slices.Equal(names, services) {
		t.Errorf("audit has %v; want %v", names, services)
	}
	if len(privileged) > 3 {
		t.Errorf("privileged: %v; want at most three", privileged)
	}
	// Containers that are not as declared are found.
	t.Cleanup(func() { g.try(t, "sudo system-docker rm -f e2e-spy") })
	for _, tt := range []struct{ options, want string }{
		{"--network none", "e2e-spy: NOT OURS"},
		{"--network none --label io.bulkhead.service=ntp --cap-drop ALL", "e2e-spy: NOT OURS"},
		{"--network none --label io.bulkhead.configured=web --cap-drop ALL", "e2e-spy: NOT OURS"},
		{"--network host", "e2e-spy, network_mode: NO REASON"},
		{"--network container:network", "e2e-spy, network_mode: NO REASON"},
		{"--network none --cap-add SYS_ADMIN", "e2e-spy, SYS_ADMIN: NO REASON"},
		{"--network none -v /run/system-docker.sock:/s:ro", "e2e-spy, /run/system-docker.sock: NO REASON"},
		{"--network none -v /var/lib/rancher:/r", "e2e-spy, /var/lib/rancher: NO REASON"},
		{"--network none --device-cgroup-rule 'b *:* rwm'", "e2e-spy, b *:* rwm: NO REASON"},
		{"--network none --security-opt apparmor=unconfined", "e2e-spy, apparmor=unconfined: NO REASON"},
	} {
		g.root(t, "system-docker run -d --name e2e-spy %s $(system-docker inspect -f '{{.Image}}' ntp) sleep 1000", tt.options)
		if r := g.try(t, "sudo ros audit"); r.Exit != 1 || !strings.Contains(r.Stdout, tt.want) {
			t.Errorf("audit of a container with %s: exit code %d\n%s%s\nwant %s", tt.options, r.Exit, r.Stdout, r.Stderr, tt.want)
		}
		g.root(t, "system-docker rm -f e2e-spy")
	}
	// So is a process that joined a service from elsewhere.
	g.root(t, "sleep 1000 >/dev/null 2>&1 </dev/null & echo $! >/sys/fs/cgroup/system/$(system-docker inspect -f '{{.Id}}' ntp)/cgroup.procs")
	t.Cleanup(func() { g.try(t, "sudo pkill -f '^sleep 1000$'") })
	if r := g.try(t, "sudo ros audit"); r.Exit != 1 || !strings.Contains(r.Stdout, "ntp, a process that is unconfined: NO REASON") {
		t.Errorf("audit of a loose process: exit code %d\n%s%s", r.Exit, r.Stdout, r.Stderr)
	}
}
