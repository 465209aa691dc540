package network

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

func tunnelTarget(endpoint osconfig.Endpoint) Target {
	return Target{Name: "wg0", Kind: wireguard, WireGuard: osconfig.WireGuard{
		PrivateKey: osconfig.WireGuardKey{Secret: testKey}, ListenPort: 51820,
		Peers: []osconfig.WireGuardPeer{{
			PublicKey: testPeer, PresharedKey: osconfig.WireGuardKey{Secret: testKey}, Endpoint: endpoint,
			AllowedIPs: []osconfig.IPNetwork{"10.7.0.2/32", "fd00:7::/64"}, PersistentKeepalive: 25,
		}},
	}}
}

func TestTunnelConfig(t *testing.T) {
	const want = "[Interface]\nPrivateKey = " + testKey + "\nListenPort = 51820\n[Peer]\nPublicKey = " + testPeer + "\nPresharedKey = " + testKey +
		"\nAllowedIPs = 10.7.0.2/32\nAllowedIPs = fd00:7::/64\nPersistentKeepalive = 25\n"
	for _, tt := range []struct {
		endpoint  osconfig.Endpoint
		want, ask string
	}{
		{"", want, ""},
		{"[2001:db8::1]:51820", want + "Endpoint = [2001:db8::1]:51820\n", ""},
		{"vpn.example.org:51820", want, "vpn.example.org:51820"},
	} {
		text, names := tunnelConfig(tunnelTarget(tt.endpoint))
		if diff := cmp.Diff(tt.want, text); diff != "" || names[testPeer] != tt.ask {
			t.Errorf("endpoint %q: to ask for %v\n%s", tt.endpoint, names, diff)
		}
	}
}

// Keys are set when they change, and after a failure or for a link that was made
// again; an endpoint is asked for until it has an address.
func TestTunnels(t *testing.T) {
	var mu sync.Mutex
	var calls []string
	fails, asked := errors.New("no wg"), 0
	pointed := make(chan bool, 9)
	s := newTunnels(slog.New(slog.DiscardHandler))
	s.pause = time.Millisecond
	s.wg = func(_ context.Context, input string, args ...string) error {
		mu.Lock()
		defer mu.Unlock()
		calls = append(calls, strings.Join(args, " "))
		if args[0] == "set" {
			pointed <- true
		} else if !strings.Contains(input, testKey) {
			t.Errorf("input %q", input)
		}
		return fails
	}
	s.lookup = func(_ context.Context, host string) ([]string, error) {
		if asked++; asked < 3 || host != "vpn.example.org" {
			return nil, errors.New("no name server")
		}
		return []string{"192.0.2.7", "2001:db8::7"}, nil
	}
	set := func(endpoint osconfig.Endpoint) {
		t.Helper()
		if err := s.set(t.Context(), tunnelTarget(endpoint)); !errors.Is(err, fails) {
			t.Errorf("error %v; want %v", err, fails)
		}
	}
	const sync = "syncconf wg0 /dev/stdin"
	set("192.0.2.1:1")
	fails = nil
	set("192.0.2.1:1")
	set("192.0.2.1:1")
	s.forget("wg0")
	set("192.0.2.1:1")
	set("vpn.example.org:51820")
	select {
	case <-pointed:
	case <-time.After(10 * time.Second):
		t.Fatal("the endpoint has no address")
	}
	set("vpn.example.org:51820")
	mu.Lock()
	defer mu.Unlock()
	if diff := cmp.Diff([]string{sync, sync, sync, sync, "set wg0 peer " + testPeer + " endpoint 192.0.2.7:51820"}, calls); diff != "" {
		t.Error(diff)
	}
}
