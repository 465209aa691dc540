package userdocker

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

func TestWish(t *testing.T) {
	all := func(string) bool { return true }
	none := func(string) bool { return false }
	for _, tt := range []struct {
		name, docker string
		has          tlsFiles
		want         map[string]any
		problems     []string
	}{
		{"nothing", "{}", none, map[string]any{}, nil},
		{"keys", "{log_driver: local, log_opts: {max-size: 1m}, bip: 10.9.0.1/24, live_restore: false, debug: true, registry_mirror: 'https://m.test', insecure_registry: ['a:5000'], group: docker, data_root: /mnt/big}",
			none, map[string]any{"log-driver": "local", "log-opts": map[string]any{"max-size": "1m"}, "bip": "10.9.0.1/24", "live-restore": false, "debug": true,
				"registry-mirrors": []any{"https://m.test"}, "insecure-registries": []any{"a:5000"}, "group": "docker", "data-root": "/mnt/big"}, nil},
		{"what cannot be", "{bridge: br0, bip: 10.9.0.1/24, data_root: /var/x, userns_enabled: true}", none, map[string]any{"bridge": "br0"},
			[]string{"rancher.docker.bip: the address of br0 is not Docker's to choose",
				"rancher.docker.data_root: data-root: /var/x is no place on the host; take a directory below /home, /root, /srv, /data, /opt, /usr/local, /var/tmp, /mnt, /media",
				"rancher.docker.userns_enabled: the image of the engine has no subordinate users"}},
		{"arguments", "{extra_args: [--dns, 10.0.0.1, '--dns=10.0.0.2', --icc=false, --mtu, '1400', '--label=a=b', -D, '--default-ulimit=nofile=64:128', --log-opt, tag=x, --bogus=1, --mtu=big]}",
			none, map[string]any{"dns": []any{"10.0.0.1", "10.0.0.2"}, "icc": false, "mtu": 1400, "labels": []any{"a=b"}, "debug": true,
				"default-ulimits": map[string]any{"nofile": map[string]any{"Name": "nofile", "Soft": json.Number("64"), "Hard": json.Number("128")}},
				"log-opts":        map[string]any{"tag": "x"}},
			[]string{"rancher.docker.extra_args: --bogus: no effect here; use /etc/docker/daemon.json if the daemon knows it", `rancher.docker.extra_args: --mtu: "big": want a number`}},
		{"TLS", "{tls: true}", all, map[string]any{"tlsverify": true, "tlscacert": "/etc/docker/tls/ca.pem", "tlscert": "/etc/docker/tls/server-cert.pem",
			"tlskey": "/etc/docker/tls/server-key.pem", "hosts": []any{"tcp://0.0.0.0:2376"}}, nil},
		{"no open port without certificates", "{tls: true}", none, map[string]any{},
			[]string{"rancher.docker.tls: /etc/docker/tls/ca.pem is missing: set ca_cert, server_cert and server_key"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var cfg osconfig.Config
			for _, p := range cfg.Merge("test", []byte("rancher:\n  docker: "+tt.docker)) {
				if !strings.Contains(p.Text, "no effect") {
					t.Fatal(p)
				}
			}
			w := wishOf(cfg, tt.has)
			if diff := cmp.Diff(tt.want, w.Values); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tt.problems, w.Problems); diff != "" {
				t.Error(diff)
			}
		})
	}
}
