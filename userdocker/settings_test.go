package userdocker

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMerge(t *testing.T) {
	builtIn := map[string]any{
		"data-root":        "/var/lib/docker",
		"exec-root":        "/run/docker",
		"pidfile":          "/run/docker.pid",
		"containerd":       "/run/user-docker/containerd.sock",
		"cgroup-parent":    "/containers",
		"live-restore":     true,
		"firewall-backend": "nftables",
		"group":            "docker",
		"log-driver":       "json-file",
		"log-opts":         map[string]any{"max-size": "25m", "max-file": "2"},
		"hosts":            []any{"fd://"},
	}
	tests := []struct {
		name, user string
		wish       map[string]any
		change     map[string]any // nil value: the key is absent
		ignored    []string
	}{
		{name: "no file"},
		{name: "empty object", user: "{}"},
		{name: "byte order mark", user: "\xef\xbb\xbf{}"},
		{name: "null", user: "null"},
		{name: "user's keys win", user: `{"live-restore": false, "firewall-backend": "iptables", "mtu": 1400}`,
			change: map[string]any{"live-restore": false, "firewall-backend": "iptables", "mtu": 1400.0}},
		{name: "another log driver gets none of our options", user: `{"log-driver": "syslog"}`,
			change: map[string]any{"log-driver": "syslog", "log-opts": nil}},
		{name: "log options replace ours", user: `{"log-opts": {"max-size": "1g"}}`,
			change: map[string]any{"log-opts": map[string]any{"max-size": "1g"}}},
		{name: "listeners are added", user: `{"hosts": ["unix:///var/run/docker.sock", "tcp://127.0.0.1:2375"]}`,
			change: map[string]any{"hosts": []any{"fd://", "tcp://127.0.0.1:2375"}}},
		{name: "the bulkhead stays", user: `{"exec-root": "/x", "containerd": "/y", "pidfile": "/run/docker.pid", "cgroup-parent": "/system"}`,
			ignored: []string{"cgroup-parent", "containerd", "exec-root"}},
		{name: "the file beats the configuration, listeners are of both", user: `{"mtu": 1400, "hosts": ["tcp://127.0.0.1:2375"]}`,
			wish:   map[string]any{"mtu": 1300, "debug": true, "exec-root": "/x", "log-driver": "syslog", "hosts": []any{"tcp://127.0.0.1:2376"}},
			change: map[string]any{"mtu": 1400.0, "debug": true, "log-driver": "syslog", "log-opts": nil, "hosts": []any{"fd://", "tcp://127.0.0.1:2376", "tcp://127.0.0.1:2375"}}},
		{name: "data elsewhere on the host", user: `{"data-root": "/mnt/big/docker"}`,
			change: map[string]any{"data-root": "/mnt/big/docker"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Merge([]byte(tt.user), tt.wish, nothingOnDisk)
			if err != nil {
				t.Fatal(err)
			}
			want := make(map[string]any)
			for k, v := range builtIn {
				want[k] = v
			}
			for k, v := range tt.change {
				if want[k] = v; v == nil {
					delete(want, k)
				}
			}
			raw, err := s.JSON()
			if err != nil {
				t.Fatal(err)
			}
			var got map[string]any
			if err := json.Unmarshal(raw, &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tt.ignored, s.Ignored); diff != "" {
				t.Errorf("ignored: %s", diff)
			}
		})
	}
}

func nothingOnDisk(string) onDisk { return onDisk{} }

func TestMergeMistakes(t *testing.T) {
	for _, tt := range []struct{ name, user, want string }{
		{"syntax", "{\n  \"mtu\": 1400,\n}\n", "line 3: invalid character"},
		{"cut off", "{\n\"mtu\":", "line 2: unexpected end"},
		{"no object", "\n[1]", "line 2: want a JSON object, not a array"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Merge([]byte(tt.user), nil, nothingOnDisk); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Merge(%q) = %v; want an error with %q", tt.user, err, tt.want)
			}
		})
	}
}

func TestWithoutLiveRestore(t *testing.T) {
	s, err := Merge([]byte(`{"mtu": 1400}`), nil, nothingOnDisk)
	if err != nil {
		t.Fatal(err)
	}
	off := s.WithoutLiveRestore()
	if !s.LiveRestore() || off.LiveRestore() {
		t.Errorf("LiveRestore() = %t, without %t; want true, false", s.LiveRestore(), off.LiveRestore())
	}
	if off.values["mtu"] != 1400.0 {
		t.Errorf("mtu = %v; want the user's 1400", off.values["mtu"])
	}
}

func TestSettingsSame(t *testing.T) {
	base := Settings{values: map[string]any{"debug": true, "hosts": []any{"fd://"}}, env: []string{"A=1"}}
	for _, tt := range []struct {
		name  string
		other Settings
		want  bool
	}{
		{"equal", Settings{values: map[string]any{"hosts": []any{"fd://"}, "debug": true}, env: []string{"A=1"}}, true},
		{"wished for otherwise", Settings{values: base.values, env: base.env, wish: map[string]any{"debug": true}}, true},
		{"another value", Settings{values: map[string]any{"debug": false, "hosts": []any{"fd://"}}, env: base.env}, false},
		{"another environment", Settings{values: base.values}, false},
	} {
		if got := base.same(tt.other); got != tt.want {
			t.Errorf("%s: same = %v; want %v", tt.name, got, tt.want)
		}
	}
}
