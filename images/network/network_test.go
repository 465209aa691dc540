package network

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-os/bulkhead/internal/milestone"
)

func TestFactsOf(t *testing.T) {
	for _, tt := range []struct {
		name string
		env  map[string]string
		want Facts
	}{
		{"nothing", nil, Facts{}},
		{"DHCP", map[string]string{
			"new_domain_name_servers": "10.0.0.1 10.0.0.2 10.0.0.1", "new_domain_name": "lab.test",
			"new_ntp_servers": "10.0.0.5", "new_host_name": "box",
		}, Facts{Nameservers: []string{"10.0.0.1", "10.0.0.2"}, Search: []string{"lab.test"},
			NTPServers: []string{"10.0.0.5"}, Hostname: "box"}},
		{"search list beats domain", map[string]string{"new_domain_search": "a.test b.test.", "new_domain_name": "c.test"},
			Facts{Search: []string{"a.test", "b.test"}}},
		{"router advertisement", map[string]string{
			"interface": "eth0", "nd1_rdnss1_servers": "fe80::1", "nd2_rdnss1_servers": "fd00::1", "nd1_dnssl1_search": "lab.test",
		}, Facts{Nameservers: []string{"fe80::1%eth0", "fd00::1"}, Search: []string{"lab.test"}}},
		{"DHCPv6", map[string]string{"new_dhcp6_name_servers": "fd00::1", "new_dhcp6_sntp_servers": "fd00::5"},
			Facts{Nameservers: []string{"fd00::1"}, NTPServers: []string{"fd00::5"}}},
		{"a hostile server", map[string]string{
			"new_domain_name_servers": "10.0.0.1\nnameserver", "new_host_name": "x;reboot",
			"new_domain_search": "ok.test $(reboot) -x", "new_ntp_servers": "10.0.0.5 allow",
		}, Facts{Nameservers: []string{"10.0.0.1"}, Search: []string{"ok.test"}, NTPServers: []string{"10.0.0.5"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, factsOf(tt.env)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestChangeOf(t *testing.T) {
	for _, tt := range []struct {
		interfaceName, reason, protocol, up, down string
		want                                      change
	}{
		{"eth0", "BOUND", "dhcp", "true", "false", known},
		{"eth0", "ROUTERADVERT", "ra", "true", "false", known},
		{"eth0", "EXPIRE", "dhcp", "false", "true", gone},
		{"eth0", "NOCARRIER", "link", "false", "true", noLink},
		{"eth0", "CARRIER", "link", "true", "false", nothing},
		{"eth0", "PREINIT", "", "false", "false", nothing},
		{"../x", "BOUND", "dhcp", "true", "false", nothing},
		{"", "BOUND", "dhcp", "true", "false", nothing},
	} {
		env := map[string]string{"interface": tt.interfaceName, "reason": tt.reason, "protocol": tt.protocol,
			"if_up": tt.up, "if_down": tt.down}
		if got := changeOf(env); got != tt.want {
			t.Errorf("changeOf(%v) = %d; want %d", env, got, tt.want)
		}
	}
}

func TestHook(t *testing.T) {
	h := hook{&publisher{log: slog.New(slog.DiscardHandler), dir: t.TempDir(), etc: t.TempDir(), ntp: t.TempDir(), links: t.TempDir()}}
	h.ready = milestone.Milestone(h.dir + "/ready")
	h.hostname, h.plans = filepath.Join(t.TempDir(), "hostname"), filepath.Join(h.dir, "links")
	write := func(file, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	check := func(file, want string) {
		t.Helper()
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, string(raw)); diff != "" {
			t.Errorf("%s: %s", filepath.Base(file), diff)
		}
	}
	run := func(env map[string]string) {
		t.Helper()
		if err := h.run(env); err != nil {
			t.Fatal(err)
		}
	}
	ready := h.ready.Reached
	const header = "# Made by the network service from the configuration, DHCP and router advertisements.\n"
	write(h.hostname, "bulkhead\n")
	write(h.etc+"/hosts", "127.0.0.1 localhost\n127.0.1.1 bulkhead\n")
	write(h.plans, "eth0 dhcp\neth1 dhcp\neth2\n")
	write(h.links+"/eth2/carrier", "1\n")
	write(h.links+"/eth0/carrier", "0\n")
	write(h.links+"/eth1/carrier", "1\n")

	run(map[string]string{"interface": "eth0", "reason": "NOCARRIER"})
	if ready() {
		t.Error("ready without an address, though eth1 is plugged in")
	}
	bound := map[string]string{"interface": "eth1", "protocol": "dhcp", "reason": "BOUND", "if_up": "true",
		"new_domain_name_servers": "10.0.0.1", "new_host_name": "box", "new_ntp_servers": "10.0.0.5"}
	run(bound)
	run(map[string]string{"interface": "eth1", "protocol": "ra", "reason": "ROUTERADVERT", "if_up": "true",
		"nd1_rdnss1_servers": "fd00::1"})
	check(h.etc+"/resolv.conf", header+"nameserver 10.0.0.1\nnameserver fd00::1\n")
	check(h.ntp+"/dhcp.sources", "server 10.0.0.5 iburst\n")
	check(h.etc+"/hosts", "127.0.0.1 localhost\n127.0.1.1 box\n")
	check(h.etc+"/hostname", "box\n")
	check(h.hostname, "box")
	if !ready() {
		t.Error("not ready with an address")
	}

	// A name that the configuration gave stays.
	write(h.hostname, "mine\n")
	run(bound)
	check(h.hostname, "mine\n")

	run(map[string]string{"interface": "eth1", "protocol": "dhcp", "reason": "EXPIRE", "if_down": "true"})
	check(h.etc+"/resolv.conf", header+"nameserver fd00::1\n")

	// Unplugged everywhere: nothing to wait for.
	if err := h.ready.Clear(); err != nil {
		t.Fatal(err)
	}
	write(h.links+"/eth1/carrier", "0\n")
	run(map[string]string{"interface": "eth1", "reason": "NOCARRIER"})
	if !ready() {
		t.Error("not ready without any link")
	}
}
