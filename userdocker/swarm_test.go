package userdocker

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSwarmModes(t *testing.T) {
	type look struct {
		in, asked, idle bool
		want            swarmMode
	}
	for _, tt := range []struct {
		name  string
		start swarmMode
		looks []look
	}{
		{"nobody wants one", noSwarm, []look{{idle: true, want: noSwarm}, {want: noSwarm}}},
		{"asked for, made, left", noSwarm, []look{
			{asked: true, idle: true, want: swarmComes}, {asked: true, want: swarmComes}, {asked: true, idle: true, want: swarmFits},
			{asked: true, idle: true, want: swarmFits}, {in: true, idle: true, want: swarmFits},
			{idle: true, want: swarmGoes}, {want: swarmGoes}, {idle: true, want: noSwarm}, {idle: true, want: noSwarm},
		}},
		{"asked for, and not made", swarmFits, []look{{asked: true, idle: true, want: swarmFits}, {idle: true, want: swarmGoes}}},
		{"again while it goes", swarmGoes, []look{{asked: true, want: swarmComes}, {in: true, idle: true, want: swarmFits}}},
		{"a daemon that starts is not idle", swarmFits, []look{{want: swarmFits}}},
		{"settings that suit by themselves", noSwarm, []look{{in: true, idle: true, want: swarmComes}, {in: true, idle: true, want: swarmFits}}},
	} {
		mode := tt.start
		for n, l := range tt.looks {
			if mode = mode.next(l.in, l.asked, l.idle); mode != l.want {
				t.Errorf("%s: look %d: mode %d; want %d", tt.name, n, mode, l.want)
			}
		}
	}
}

func TestSwarmSettings(t *testing.T) {
	const about = "/etc/docker/daemon.json: "
	for _, tt := range []struct {
		name, file string
		mode       swarmMode
		live       bool
		backend    string
		problems   []string
	}{
		{"none", `{}`, noSwarm, true, "nftables", nil},
		{"on the way", `{}`, swarmComes, true, "iptables", nil},
		{"in one", `{}`, swarmFits, false, "iptables", nil},
		{"a file that suits", `{"live-restore": false, "firewall-backend": "iptables"}`, swarmFits, false, "iptables", nil},
		{"a file that does not", `{"live-restore": true, "firewall-backend": "nftables"}`, swarmFits, false, "iptables", []string{
			about + "firewall-backend: left out: a swarm does not go with it; docker swarm leave brings it back",
			about + "live-restore: left out: a swarm does not go with it; docker swarm leave brings it back"}},
	} {
		s, err := Merge([]byte(tt.file), nil, func(string) onDisk { return onDisk{} })
		if err != nil {
			t.Fatal(err)
		}
		got := tt.mode.suit(s)
		if got.LiveRestore() != tt.live || got.values["firewall-backend"] != tt.backend {
			t.Errorf("%s: live-restore %t, %v; want %t, %s", tt.name, got.LiveRestore(), got.values["firewall-backend"], tt.live, tt.backend)
		}
		if diff := cmp.Diff(tt.problems, got.Problems); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

func TestSwarmEar(t *testing.T) {
	e := newEngine(nil)
	for _, tt := range []struct {
		line string
		want bool
	}{
		{"time=… level=info msg=\"Loading containers: done.\"\n", false},
		{"time=… level=error msg=\"Handler for POST /swarm/init returned error\" error-response=\"--live-restore daemon configuration is incompatible with swarm mode\"\n", true},
	} {
		if _, err := (swarmEar{e}).Write([]byte(tt.line)); err != nil {
			t.Fatal(err)
		}
		if got := !e.swarmAsked.IsZero(); got != tt.want {
			t.Errorf("after %q it has heard of one: %t; want %t", tt.line, got, tt.want)
		}
	}
}
