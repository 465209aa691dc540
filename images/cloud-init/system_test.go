package cloudinit

import (
	"testing"
	"testing/fstest"

	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

func TestNames(t *testing.T) {
	tests := []struct {
		config, name, hosts string
	}{
		{"{}", "", ""},
		{"hostname: web1", "web1", "web1"},
		{"hostname: web1.example.org", "web1.example.org", "web1.example.org web1"},
		{"fqdn: web1.example.org", "web1", "web1.example.org web1"},
		{"{hostname: a, fqdn: web1.example.org}", "a", "web1.example.org web1 a"},
		{"{hostname: a, fqdn: web1.example.org, prefer_fqdn_over_hostname: true}", "web1.example.org", "web1.example.org web1"},
		{"{hostname: a, preserve_hostname: true}", "", ""},
	}
	for _, tt := range tests {
		cfg := configure(t, tt.config)
		name, full := machineNames(cfg)
		want := "127.0.0.1 localhost\n127.0.1.1 " + tt.hosts + "\n"
		if got := hosts(name, full); string(name) != tt.name || got[:len(want)] != want {
			t.Errorf("%s: name %q, hosts %q; want %q, %q", tt.config, name, got, tt.name, tt.hosts)
		}
	}
}

func configure(t *testing.T, text string) osconfig.Config {
	t.Helper()
	cfg := osconfig.Defaults()
	if problems := cfg.Merge("test", []byte(text)); len(problems) > 0 {
		t.Fatal(problems)
	}
	return cfg
}

func TestChrony(t *testing.T) {
	const dir = "sourcedir /run/bulkhead/ntp\n"
	tests := []struct{ config, conf, sources string }{
		{"{}", dir, "pool pool.ntp.org iburst maxsources 4\n"},
		{"ntp: {servers: [a.example.org], peers: [10.0.0.2]}", dir, "server a.example.org iburst\npeer 10.0.0.2\n"},
		{"ntp: {pools: [p.example.org], allow: [10.0.0.0/8]}", dir + "port 123\nallow 10.0.0.0/8\n", "pool p.example.org iburst maxsources 4\n"},
		{"ntp: {enabled: false, servers: [a]}", "# The configuration wants no time from the network.\n", "server a iburst\n"},
	}
	for _, tt := range tests {
		n := configure(t, tt.config).NTP
		if conf, sources := chronyConf(n), chronySources(n); conf != tt.conf || sources != tt.sources {
			t.Errorf("%s: %q, %q; want %q, %q", tt.config, conf, sources, tt.conf, tt.sources)
		}
	}
}

func TestUserTierSettings(t *testing.T) {
	for config, want := range map[string]string{
		"{}":                              "ports 22\n",
		"rancher: {ssh: {port: 2200}}":    "ports 2200\n",
		"rancher: {ssh: {daemon: false}}": "ports\n",
		"rancher: {user_tier: {mem_limit: 1G, pids_limit: 500, cpu_weight: 50}}": "ports 22\nmemory.max 1073741824\npids.max 500\ncpu.weight 50\n",
		"rancher: {user_tier: {swap_limit: -1, os_disks: true}}":                 "ports 22\nos-disks\nmemory.swap.max max\n",
	} {
		if got := userTierSettings(configure(t, config).Rancher); got != want {
			t.Errorf("%s: %q; want %q", config, got, want)
		}
	}
}

func TestReadZone(t *testing.T) {
	zones := fstest.MapFS{"Etc/UTC": {Data: []byte("TZif utc")}, "Europe/Berlin": {Data: []byte("TZif berlin")}, "zone1970.tab": {Data: []byte("text")}}
	for zone, want := range map[osconfig.Timezone]string{"": "TZif utc", "Europe/Berlin": "TZif berlin", "Europe/Bonn": "TZif utc", "zone1970.tab": "TZif utc"} {
		got, err := readZone(zones, zone)
		if known := zone == "" || zone == "Europe/Berlin"; got != want || (err == nil) != known {
			t.Errorf("readZone(%q) = %q, %v; want %q", zone, got, err, want)
		}
	}
}
