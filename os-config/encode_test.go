package osconfig

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What is written down means the same when it is read.
func TestEncodeRoundTrip(t *testing.T) {
	const text = `hostname: web1
write_files:
  - path: /a
    content: |
      one
      two
    permissions: "0600"
runcmd:
  - echo a
  - [touch, /a b]
mounts:
  - [/dev/sdb, /mnt, ext4]
  - [/dev/sdc, none, swap, null, "0"]
users:
  - name: default
  - name: anna
    passwd: $6$bulkhead$DuApHLe9WNL3CY0mb1ldTzDHcD1jKoHqFpVSGpmGUvV8sijlgEiCL0Papyff6QALQCiXLAwKrAeqbUw0eHjam0
    lock_passwd: false
groups:
  - admins
  - ops: [anna]
password: "0123"
chpasswd:
  expire: false
  list:
    - anna:secret
    - bob:RANDOM
disk_setup:
  /dev/sdb:
    table_type: gpt
    layout: [50, [50, "82"]]
power_state:
  mode: reboot
  condition: [test, -e, /x]
rancher:
  environment:
    A: "1"
  services:
    web:
      command:
        - a
        - b c
      environment:
        A: x
        B: null
      stop_grace_period: 1m30s
  sysctl:
    a.b: "1"
  network:
    interfaces:
      eth0.100:
        vlans: 100,200:guests
    http_proxy: http://u:p@proxy:3128
  preload_wait: false
`
	d := decoder{origins: make(Origins)}
	cfg := Defaults()
	if d.mergeText(&cfg, []byte(text)); AnyError(d.problems) {
		t.Fatal(d.problems)
	}
	got, err := View{Private: true, Only: d.origins}.YAML(cfg, "")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(text, string(got)); diff != "" {
		t.Errorf("written down (-want +got):\n%s", diff)
	}
}

func TestView(t *testing.T) {
	cfg := Defaults()
	cfg.Merge("f", []byte(`
password: hunter2
ssh_keys: {ed25519_private: "-----BEGIN PRIVATE KEY-----\naHVudGVyMg==\n-----END PRIVATE KEY-----\n"}
chpasswd: {list: ['rancher:hunter2']}
users: [{name: anna, plain_text_passwd: hunter2}]
rancher:
  network: {http_proxy: "http://me:hunter2@proxy"}
  registry_auths: {r: {username: me, password: hunter2, auth: hunter2}}
  docker: {server_key: hunter2}
  sysctl: {a.b: "1"}
`))
	tests := []struct {
		key, want string
		json      bool
	}{
		{"hostname", "\n", false},
		{"password", "(hidden)\n", false},
		{"chpasswd.list", "- rancher:(hidden)\n", false},
		{"rancher.network.http_proxy", "http://(hidden)@proxy\n", false},
		{"rancher.registry_auths", "r:\n  username: me\n  password: (hidden)\n  auth: (hidden)\n", false},
		{"rancher.ssh.port", "22\n", false},
		{"rancher.ssh", "{\n  \"daemon\": true,\n  \"port\": 22\n}\n", true},
		{"rancher.sysctl.a.b", "1\n", false},
		{"rancher.sysctl.c.d", "", false},
		{"users", "- name: anna\n  plain_text_passwd: (hidden)\n", false},
	}
	for _, tt := range tests {
		got, err := View{}.YAML(cfg, tt.key)
		if tt.json {
			got, err = View{}.JSON(cfg, tt.key)
		}
		if err != nil || string(got) != tt.want {
			t.Errorf("%s = %q, %v; want %q", tt.key, got, err, tt.want)
		}
	}
	for _, key := range []string{"", "rancher"} {
		all, err := View{}.YAML(cfg, key)
		if err != nil || strings.Contains(string(all), "hunter2") || strings.Contains(string(all), "aHVudGVyMg") {
			t.Errorf("secrets in %q: %v\n%s", key, err, all)
		}
	}
	if shown := fmt.Sprintf("%v %+v %#v", cfg, cfg, cfg); strings.Contains(shown, "hunter2") || strings.Contains(shown, "aHVudGVyMg") {
		t.Errorf("secrets in %s", shown)
	}
	if _, err := (View{}).YAML(cfg, "rancher.shh"); err == nil || !strings.Contains(err.Error(), "did you mean ssh?") {
		t.Errorf("rancher.shh: %v; want the nearest key", err)
	}
}

func TestComplete(t *testing.T) {
	tests := []struct {
		beginning string
		want      []string
	}{
		{"host", []string{"hostname"}},
		{"ranch", []string{"rancher."}},
		{"rancher.ss", []string{"rancher.ssh."}},
		{"rancher.ssh.", []string{"rancher.ssh.daemon", "rancher.ssh.port", "rancher.ssh.listen_address", "rancher.ssh.keys."}},
		{"rancher.services.web.im", []string{"rancher.services.web.image"}},
		{"rancher.network.interfaces.eth0.100.dhcp_", nil},
		{"hostname.", nil},
		{"nothing.", nil},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, Complete(tt.beginning)); diff != "" {
			t.Errorf("Complete(%q) (-want +got):\n%s", tt.beginning, diff)
		}
	}
}
