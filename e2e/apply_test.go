package e2e

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-os/bulkhead/e2e/qemutest"
)

// applied is what ros config apply --json prints.
type applied struct {
	Changes []struct{ Key, Effect, Service string }
	Applied bool
	Reboot  bool
	Errors  []string
}

// apply runs ros config apply.
func (g *guest) apply(t *testing.T, options string) applied {
	t.Helper()
	r := g.try(t, "sudo ros config apply --json "+options)
	var a applied
	if err := json.Unmarshal([]byte(r.Stdout), &a); err != nil {
		t.Fatalf("ros config apply %s: %v in %q, %s", options, err, r.Stdout, r.Stderr)
	}
	if len(a.Errors) > 0 {
		t.Errorf("ros config apply: %v", a.Errors)
	}
	return a
}

// checkApply changes the configuration of a running machine, and changes it back.
func (g *guest) checkApply(t *testing.T) {
	if a := g.apply(t, ""); len(a.Changes) > 0 {
		t.Errorf("without a change: %+v; want nothing to do", a.Changes)
	}
	g.needImage(t)
	g.clean(t)
	key, err := qemutest.NewKey("later")
	if err != nil {
		t.Fatal(err)
	}
	g.sh(t, "docker run -d --name survivor %s sleep 100000", image)
	before := g.root(t, "cat %s 2>/dev/null || true", cloudConfig)
	for _, set := range []string{
		"fqdn ship2.example.org", "rancher.sysctl.vm.swappiness 9", "rancher.docker.debug true", "rancher.ssh.port 2222",
		"rancher.network.dns.search '[later.example.org]'", "ntp.servers '[10.0.2.3]'", "runcmd '[touch /run/never]'", "rancher.state.wait true",
		"rancher.services.web '{image: \"" + image + "\", command: [sleep, \"100000\"], labels: {round: one}}'",
		"ssh_authorized_keys '[" + g.key.Authorized + ", " + key.Authorized + "]'",
		"write_files '[{path: /opt/later, content: tea}]'",
	} {
		g.sh(t, "sudo ros config set %s", set)
	}
	if plan := g.apply(t, "--dry-run"); plan.Applied || g.sh(t, "cat /proc/sys/vm/swappiness") != "7" {
		t.Errorf("a dry run changed something: %+v", plan)
	}
	a := g.apply(t, "")
	if !a.Applied || !a.Reboot {
		t.Errorf("applied %v, reboot %v; want both", a.Applied, a.Reboot)
	}
	for _, want := range []string{"rancher.network.dns.search restart network", "ntp.servers restart ntp", "rancher.docker.debug restart docker",
		"rancher.state.wait reboot ", "runcmd later ", "rancher.ssh.port now "} {
		if !slices.ContainsFunc(a.Changes, func(c struct{ Key, Effect, Service string }) bool {
			return strings.Join([]string{c.Key, c.Effect, c.Service}, " ") == want
		}) {
			t.Errorf("no %q among %+v", want, a.Changes)
		}
	}
	for _, tt := range []struct{ name, command, want string }{
		{"host name", "hostname -f", "ship2.example.org"},
		{"sysctl", "cat /proc/sys/vm/swappiness", "9"},
		{"user Docker's daemon", "docker info -f '{{.Debug}}'", "true"},
		{"its containers", "docker inspect -f '{{.State.Running}} {{.RestartCount}}' survivor", "true 0"},
		{"a service", "docker inspect -f '{{.State.Running}} {{.Config.Labels.round}}' web", "true one"},
		{"sshd", "sudo ss -Hltn 'sport = :2222' | wc -l; sudo ss -Hltn 'sport = :22' | wc -l", "2\n0"},
		{"keys", "grep -c ' later$' ~/.ssh/authorized_keys", "1"},
		{"time servers", "cat /run/bulkhead/ntp/configuration.sources", "server 10.0.2.3 iburst"},
		{"file", "cat /opt/later", "tea"},
		{"start commands do not run", "test -e /run/never || echo none", "none"},
		{"the record is root's", "sudo find /run/bulkhead/config -perm /077 | wc -l; ls /run/bulkhead/config 2>&1 | grep -c denied", "0\n1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := strings.TrimSpace(g.try(t, tt.command).Stdout); got != tt.want {
				t.Errorf("%s\n%s\nwant:\n%s", tt.command, got, tt.want)
			}
		})
	}
	g.eventually(t, "search list", 10*time.Second, g.succeeds("grep -q later.example.org /etc/resolv.conf"))

	t.Run("a mistake", func(t *testing.T) {
		g.root(t, "echo 'hostnam: x' >> %s", cloudConfig)
		r := g.try(t, "sudo ros config apply")
		if r.Exit == 0 || !strings.Contains(r.Stderr, cloudConfig) || !strings.Contains(r.Stderr, "did you mean hostname?") {
			t.Errorf("exit code %d, %q; want the file, the line and the key", r.Exit, r.Stderr)
		}
	})
	t.Run("back again", func(t *testing.T) {
		if before == "" {
			g.root(t, "rm %s", cloudConfig)
		} else {
			g.root(t, "printf '%%s\\n' %s > %s", quote(before), cloudConfig)
		}
		if a := g.apply(t, ""); !a.Applied {
			t.Errorf("applied: %+v", a)
		}
		want := "ship.example.org\nfalse\ngone\n0"
		if got := g.sh(t, "hostname -f; docker info -f '{{.Debug}}'; docker inspect web >/dev/null 2>&1 || echo gone; grep -c ' later$' ~/.ssh/authorized_keys || true"); got != want {
			t.Errorf("%q; want %q", got, want)
		}
	})
}
