package apply

import (
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

func config(t *testing.T, text string) osconfig.Config {
	t.Helper()
	cfg := osconfig.Defaults()
	for _, p := range cfg.Merge(t.Name(), []byte(text)) {
		if p.Severity == osconfig.Error {
			t.Fatal(p)
		}
	}
	return cfg
}

func TestMakePlan(t *testing.T) {
	type change struct {
		key, what string
	}
	tests := []struct {
		name                  string
		boot, applied, wanted string
		tried                 string
		changes               []change
		steps                 []Step
	}{
		{name: "nothing", boot: "hostname: a", applied: "hostname: a", wanted: "hostname: a"},
		{
			name: "a name", wanted: "hostname: b",
			changes: []change{{"hostname", "changes now"}}, steps: []Step{Hostname},
		},
		{
			name: "each step once, in the order of a boot",
			wanted: "users: [{name: anna}]\nssh_pwauth: true\nrancher: {sysctl: {a.b: 1}, modules: [dummy], docker: {debug: true}}\n" +
				"timezone: Europe/Berlin\nntp: {servers: [10.0.0.1]}\n",
			changes: []change{
				{"ntp.servers", "restarts ntp"}, {"rancher.docker.debug", "restarts docker"}, {"rancher.modules", "changes now"},
				{"rancher.sysctl.a.b", "changes now"}, {"ssh_pwauth", "changes now"}, {"timezone", "changes now"}, {"users", "changes now"},
			},
			steps: []Step{System, Kernel, Accounts, SSH, NTP, RenewDocker},
		},
		{
			name: "of the network, proxies are user Docker's", wanted: "rancher: {network: {http_proxy: 'http://a', dns: {search: [a.b]}}}",
			changes: []change{{"rancher.network.dns.search", "restarts network"}, {"rancher.network.http_proxy", "restarts docker"}},
			steps:   []Step{Environment, SSH, Network, RenewDocker},
		},
		{
			name: "of sshd, what the console decides", wanted: "rancher: {ssh: {port: 2200, daemon: false}}",
			changes: []change{{"rancher.ssh.daemon", "needs a reboot"}, {"rancher.ssh.port", "changes now"}}, steps: []Step{SSH},
		},
		{
			name: "start commands", wanted: "runcmd: [a]\nbootcmd: [b]",
			changes: []change{{"bootcmd", "counts later"}, {"runcmd", "counts later"}},
		},
		{
			name: "what needs a reboot does so until there is one", boot: "{}",
			applied: "rancher: {state: {required: true}}\nhostname: b", wanted: "rancher: {state: {required: true}}\nhostname: b",
			changes: []change{{"rancher.state.required", "needs a reboot"}},
		},
		{
			name: "what is as it was at boot needs none", boot: "{}", applied: "rancher: {autologin: [tty1]}", wanted: "{}",
		},
		{
			name: "what cannot be taken back", boot: "rancher: {sysctl: {a.b: 1}}\nmounts: [[/dev/vdb, /mnt/b]]",
			applied: "rancher: {sysctl: {a.b: 1}}\nmounts: [[/dev/vdb, /mnt/b]]", wanted: "mounts: [[/dev/vdc, /mnt/c]]",
			changes: []change{
				{"mounts", "changes now"}, {"mounts", "needs a reboot"},
				{"rancher.sysctl", "needs a reboot"}, {"rancher.sysctl.a.b", "changes now"},
			},
			steps: []Step{Kernel, Storage},
		},
		{
			name: "an account that goes", boot: "users: [{name: anna, groups: [docker, sudo]}, {name: bob}]",
			applied: "users: [{name: anna, groups: [docker, sudo]}, {name: bob}]", wanted: "users: [{name: anna, groups: [docker, sudo]}]",
			changes: []change{{"users", "changes now"}, {"users", "needs a reboot"}}, steps: []Step{Accounts, SSH},
		},
		{
			name: "services", applied: "rancher: {services: {web: {image: a}}}", wanted: "rancher: {services: {web: {image: b}, db: {image: c}}}",
			changes: []change{{"rancher.services.db", "changes now"}, {"rancher.services.web.image", "changes now"}}, steps: []Step{Services},
		},
		{
			name: "a certificate of user Docker", wanted: "rancher: {docker: {ca_cert: x, tls: true}}",
			changes: []change{{"rancher.docker.ca_cert", "restarts docker"}, {"rancher.docker.tls", "restarts docker"}},
			steps:   []Step{RestartDocker, RenewDocker},
		},
		{
			name: "back to what was applied before an attempt failed", boot: "hostname: a", applied: "hostname: a", wanted: "hostname: a",
			tried:   "hostname: b\nrancher: {sysctl: {a.b: 1}, services: {web: {image: a}}}",
			changes: []change{{"hostname", "changes now"}, {"rancher.services.web", "changes now"}, {"rancher.sysctl", "needs a reboot"}, {"rancher.sysctl.a.b", "changes now"}},
			steps:   []Step{Hostname, Kernel, Services},
		},
		{
			name: "a key without effect", wanted: "rancher: {system_docker: {debug: true}}",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			since := []osconfig.Config{config(t, tt.applied)}
			if tt.tried != "" {
				since = append(since, config(t, tt.tried))
			}
			p := MakePlan(config(t, tt.boot), since, config(t, tt.wanted))
			var got []change
			for _, c := range p.Changes {
				got = append(got, change{c.Key, c.What()})
				if c.Reason == "" {
					t.Errorf("%s has no reason", c.Key)
				}
			}
			if diff := cmp.Diff(tt.changes, got, cmp.AllowUnexported(change{})); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.steps, p.Steps, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("steps (-want +got):\n%s", diff)
			}
		})
	}
}

// Each key with an effect has a rule, its own or that of one above it.
func TestKeysHaveRules(t *testing.T) {
	seen := 0
	for prefix, of := range map[string]reflect.Type{"": reflect.TypeFor[osconfig.Config](), "rancher.": reflect.TypeFor[osconfig.Rancher]()} {
		for i := range of.NumField() {
			tag := of.Field(i).Tag
			key := prefix + tag.Get("yaml")
			if tag.Get("instead") != "" || key == "rancher" {
				continue
			}
			seen++
			if !slices.ContainsFunc(rules, func(r rule) bool { return r.key == key }) {
				t.Errorf("%s: rules.go does not say what ros config apply does when it changes", key)
			}
		}
	}
	if seen < 50 {
		t.Errorf("only %d keys looked at", seen)
	}
}

// Each key of the rules exists, so that a renamed one is noticed.
func TestRulesNameKeys(t *testing.T) {
	for _, r := range rules {
		if err := osconfig.IsKey(r.key); err != nil {
			t.Error(err)
		}
		if r.effect == Restart && len(r.steps) == 0 {
			t.Errorf("%s restarts nothing", r.key)
		}
	}
	for _, l := range leftovers {
		if err := osconfig.IsKey(l.key); err != nil {
			t.Error(err)
		}
	}
}
