package userdocker

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFit(t *testing.T) {
	fresh := onDisk{}
	used := onDisk{snapshots: true}
	old := onDisk{snapshots: true, drivers: []string{"overlay2"}}
	for _, tt := range []struct {
		name, file string
		has        onDisk
		want       string // what is left
		problems   []string
	}{
		{"nothing", `{}`, used, `{}`, nil},
		{"what holds", `{"mtu": 1400, "log-driver": "local", "exec-opts": ["isolation=x"], "storage-driver": "overlayfs", "userns-remap": ""}`, used,
			`{"mtu": 1400, "log-driver": "local", "exec-opts": ["isolation=x"], "storage-driver": "overlayfs", "userns-remap": ""}`, nil},
		{"data elsewhere", `{"data-root": "/exports/docker"}`, used, `{}`,
			[]string{"f: data-root: left out: /exports/docker is no place on the host; take a directory below /home, /root, /srv, /data, /opt, /usr/local, /var/tmp, /mnt, /media"}},
		{"a relative place", `{"data-root": "docker"}`, used, `{}`, []string{"f: data-root: left out: docker: want an absolute path"}},
		{"remapped users", `{"userns-remap": "default"}`, used, `{}`,
			[]string{"f: userns-remap: left out: the engine has no subordinate users; docker run --user, or a rootless image, keeps root away from a container"}},
		{"remapped users that are there", `{"userns-remap": "default"}`, onDisk{subordinates: true}, `{"userns-remap": "default"}`, nil},
		{"overlay2 on a new machine", `{"storage-driver": "overlay2"}`, fresh, `{"storage-driver": "overlay2"}`, nil},
		{"overlay2 beside containerd's images", `{"storage-driver": "overlay2"}`, used, `{}`,
			[]string{"f: storage-driver: left out: overlay2 would hide the existing images and containers: containerd keeps them, in overlayfs"}},
		{"overlay2 where it is in use", `{"storage-driver": "overlay2", "features": {"containerd-snapshotter": false}}`, old,
			`{"storage-driver": "overlay2", "features": {"containerd-snapshotter": false}}`, nil},
		{"the other way to overlay2", `{"features": {"containerd-snapshotter": false, "buildkit": true}}`, used, `{"features": {"buildkit": true}}`,
			[]string{"f: features: left out: containerd-snapshotter: false would hide the existing images and containers"}},
		{"a driver that is no more", `{"storage-driver": "devicemapper", "storage-opts": ["dm.basesize=20G"]}`, fresh, `{}`, []string{
			"f: storage-driver: left out: the engine has no devicemapper; it keeps images in overlayfs",
			"f: storage-opts: left out: an option of a storage driver that this engine does not have"}},
		{"kubeadm's", `{"exec-opts": ["native.cgroupdriver=systemd", "a=b"], "log-driver": "json-file"}`, used,
			`{"exec-opts": ["a=b"], "log-driver": "json-file"}`, []string{"f: exec-opts: left out: there is no systemd: the engine uses cgroupfs"}},
		{"the journal", `{"log-driver": "journald"}`, used, `{}`,
			[]string{"f: log-driver: left out: there is no journal; syslog writes to /var/log/messages, json-file and local keep logs for docker logs"}},
		{"one host as a text", `{"hosts": "tcp://:2375"}`, used, `{}`, []string{"f: hosts: left out: want a list"}},
		{"of ten years ago", `{"graph": "/mnt/x", "cluster-store": "consul://x", "disable-legacy-registry": true}`, used, `{}`, []string{
			"f: cluster-store: left out: swarm mode has a store of its own (docs/user-docker.md)",
			"f: disable-legacy-registry: left out: registries of version 1 no longer exist",
			"f: graph: left out: it is called data-root"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			values, err := parse([]byte(tt.file))
			if err != nil {
				t.Fatal(err)
			}
			want, err := parse([]byte(tt.want))
			if err != nil {
				t.Fatal(err)
			}
			rest, problems := fit("f", values, tt.has)
			if diff := cmp.Diff(want, rest); diff != "" {
				t.Errorf("left (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.problems, problems); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

func TestUsable(t *testing.T) {
	const file, good = `{"mtu": 1400, "nonsense": 1}`, `{"mtu": 1300}`
	for _, tt := range []struct {
		name     string
		refusal  refusal
		file     string
		lastGood []byte
		want     string
		problems []string
	}{
		{"good", refusal{}, file, nil, file, nil},
		{"no JSON, the first time", refusal{}, "{", nil, "{", nil},
		{"no JSON any more", refusal{}, "{\n", []byte(good), good,
			[]string{"/etc/docker/daemon.json: line 1: unexpected end of JSON input: the last good file counts, /var/lib/docker/daemon.json.last-good"}},
		{"a key that the daemon refuses", refusal{file: file, keys: map[string]string{"nonsense": "no such option"}}, file, nil, `{"mtu":1400}`,
			[]string{"/etc/docker/daemon.json: nonsense: left out: no such option"}},
		{"said of another file", refusal{file: "{}", keys: map[string]string{"mtu": "x"}}, file, nil, file, nil},
		{"all of it", refusal{file: file, whole: "no such bridge"}, file, []byte(good), good,
			[]string{"/etc/docker/daemon.json: left out as a whole: the daemon does not start with it: no such bridge"}},
		{"all of it, never good", refusal{file: file, whole: "no such bridge"}, file, nil, "",
			[]string{"/etc/docker/daemon.json: left out as a whole: the daemon does not start with it: no such bridge"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rest, problems := tt.refusal.usable([]byte(tt.file), tt.lastGood)
			if string(rest) != tt.want {
				t.Errorf("usable %s; want %s", rest, tt.want)
			}
			if diff := cmp.Diff(tt.problems, problems); diff != "" {
				t.Error(diff)
			}
		})
	}
}
