package console

import (
	"net"
	"net/netip"
	"testing"
)

func TestUsableAddress(t *testing.T) {
	for _, tt := range []struct {
		name string
		have []string
		want string
	}{
		{"none", nil, ""},
		{"only the link's", []string{"fe80::1/64", "169.254.3.4/16", "127.0.0.1/8"}, ""},
		{"IPv4 before IPv6", []string{"fe80::1/64", "2001:db8::5/64", "10.0.2.15/24"}, "10.0.2.15"},
		{"IPv6 alone", []string{"2001:db8::5/64"}, "2001:db8::5"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var addresses []net.Addr
			for _, text := range tt.have {
				ip, network, err := net.ParseCIDR(text)
				if err != nil {
					t.Fatal(err)
				}
				addresses = append(addresses, &net.IPNet{IP: ip, Mask: network.Mask})
			}
			var want netip.Addr
			if tt.want != "" {
				want = netip.MustParseAddr(tt.want)
			}
			if got := usable(addresses); got != want {
				t.Errorf("usable(%v) = %v; want %v", tt.have, got, want)
			}
		})
	}
	for name, want := range map[string]bool{
		"docker0": true, "docker_gwbridge": true, "br-0123456789ab": true, "veth12ab": true,
		"eth0": false, "br0": false, "br-lan": false, "bond0": false,
	} {
		if dockersLink.MatchString(name) != want {
			t.Errorf("%s is Docker's: %v; want %v", name, !want, want)
		}
	}
}

func TestSysctlsOfLinks(t *testing.T) {
	for _, tt := range []struct {
		name, link string
		want       bool
	}{
		{"net.ipv4.conf.br0.forwarding", "br0", true},
		{"net.ipv6.neigh.br0.gc_stale_time", "br0", true},
		{"net.ipv4.conf.eth0/100.rp_filter", "eth0.100", true},
		{"net/ipv4/conf/eth0.100/rp_filter", "eth0.100", true},
		{"net.ipv4.conf.eth0.forwarding", "br0", false},
		{"net.bridge.bridge-nf-call-iptables", "bridge", true}, // a link of that name has no such file
		{"kernel.br0.x", "br0", false},
	} {
		if got := ofLink(tt.name, tt.link); got != tt.want {
			t.Errorf("%s is of %s: %v; want %v", tt.name, tt.link, got, tt.want)
		}
	}
}
