package network

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

func TestProtection(t *testing.T) {
	tests := []struct {
		name string
		p    protection
		want string
	}{
		{"nothing", protection{}, `	chain forward {
		type filter hook forward priority filter - 10
	}
`},
		{"one card", protection{own: []string{"eth0"}, sshPort: 22}, `	chain forward {
		type filter hook forward priority filter - 10
		iifname { "eth0" } oifname "engine*" ct state new ct status & dnat == 0 drop
	}
	chain in {
		type filter hook prerouting priority raw
		fib daddr type local tcp dport 22 notrack
	}
	chain out {
		type filter hook output priority raw
		tcp sport 22 notrack
	}
`},
		{"three, two of which it routes among", protection{own: []string{"eth0", "wan", "eth1"}, forward: []osconfig.InterfaceKey{"eth*"}}, `	chain forward {
		type filter hook forward priority filter - 10
		iifname . oifname { "eth0" . "wan", "wan" . "eth0", "wan" . "eth1", "eth1" . "wan" } ct state new drop
		iifname { "eth0", "wan", "eth1" } oifname "engine*" ct state new ct status & dnat == 0 drop
	}
`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := "table inet bulkhead {}\ndelete table inet bulkhead\ntable inet bulkhead {\n" + tt.want + "}\n"
			if diff := cmp.Diff(want, tt.p.rules()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Rules are loaded when they change, and again after a failure; not for each link.
func TestProtectOwn(t *testing.T) {
	s, _ := newTestService(t, osconfig.Network{})
	var loaded []string
	var fails error
	s.protect = func(_ context.Context, rules string) error {
		loaded = append(loaded, rules)
		return fails
	}
	one, two := protection{own: []string{"eth0"}}, protection{own: []string{"eth0", "eth1"}}
	for _, step := range []struct {
		p     protection
		fails error
	}{{one, nil}, {one, nil}, {two, errors.New("no nft")}, {two, nil}, {two, nil}} {
		fails = step.fails
		s.protectOwn(t.Context(), step.p)
	}
	if diff := cmp.Diff([]string{one.rules(), two.rules(), two.rules()}, loaded); diff != "" {
		t.Error(diff)
	}
}
