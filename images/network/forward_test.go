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
		{"a firewall that opens what is named", protection{own: []string{"eth0", "br0"}, forward: []osconfig.InterfaceKey{"*"}, firewall: osconfig.Firewall{
			Default: "drop", Allow: []osconfig.FirewallRule{"22", "53/udp", "8000-8010 from 10.0.0.0/8 on eth0", "any from fd00::1", "any on wg0"}, Deny: []osconfig.FirewallRule{"any from 10.9.9.9/24"},
		}}, `	chain forward {
		type filter hook forward priority filter - 10
		iifname { "eth0", "br0" } oifname "engine*" ct state new ct status & dnat == 0 drop
	}
	chain firewall-in {
		type filter hook input priority filter - 10
		ct state established,related accept
		iifname { "lo", "engine*" } accept
		meta iifkind "bridge" iifname != { "eth0", "br0" } accept
		meta l4proto { 1, 2, 58 } accept
		udp sport 67 udp dport 68 accept
		ip6 saddr fe80::/10 udp dport 546 accept
		tcp dport 22 accept
		udp dport 53 accept
		iifname "eth0" ip saddr 10.0.0.0/8 tcp dport 8000-8010 accept
		ip6 saddr fd00::1/128 accept
		iifname "wg0" accept
		ip saddr 10.9.9.0/24 drop
		drop
	}
	chain firewall-forward {
		type filter hook forward priority filter - 10
		ct state established,related accept
		iifname { "lo", "engine*" } accept
		meta iifkind "bridge" iifname != { "eth0", "br0" } accept
		meta l4proto { 1, 2, 58 } accept
		oifname { "eth0", "br0" } accept
		meta l4proto tcp ct original proto-dst 22 accept
		meta l4proto udp ct original proto-dst 53 accept
		iifname "eth0" ip saddr 10.0.0.0/8 meta l4proto tcp ct original proto-dst 8000-8010 accept
		ip6 saddr fd00::1/128 accept
		iifname "wg0" accept
		ip saddr 10.9.9.0/24 drop
		drop
	}
`},
		{"a firewall that closes what is named, without a card", protection{firewall: osconfig.Firewall{Default: "accept", Allow: []osconfig.FirewallRule{"2375 from ::1"}, Deny: []osconfig.FirewallRule{"2375"}}}, `	chain forward {
		type filter hook forward priority filter - 10
	}
	chain firewall-in {
		type filter hook input priority filter - 10
		ct state established,related accept
		iifname { "lo", "engine*" } accept
		meta iifkind "bridge" accept
		meta l4proto { 1, 2, 58 } accept
		udp sport 67 udp dport 68 accept
		ip6 saddr fe80::/10 udp dport 546 accept
		ip6 saddr ::1/128 tcp dport 2375 accept
		tcp dport 2375 drop
	}
	chain firewall-forward {
		type filter hook forward priority filter - 10
		ct state established,related accept
		iifname { "lo", "engine*" } accept
		meta iifkind "bridge" accept
		meta l4proto { 1, 2, 58 } accept
		ip6 saddr ::1/128 meta l4proto tcp ct original proto-dst 2375 accept
		meta l4proto tcp ct original proto-dst 2375 drop
	}
`},
		{"a firewall that only opens", protection{firewall: osconfig.Firewall{Allow: []osconfig.FirewallRule{"22"}}}, `	chain forward {
		type filter hook forward priority filter - 10
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
		if err := s.protectOwn(t.Context(), step.p); !errors.Is(err, fails) {
			t.Errorf("error %v; want %v", err, fails)
		}
	}
	if diff := cmp.Diff([]string{one.rules(), two.rules(), two.rules()}, loaded); diff != "" {
		t.Error(diff)
	}
}
