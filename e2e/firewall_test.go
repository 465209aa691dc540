package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// peer is a network namespace that a cable joins to the machine, which knows
// nothing of it: what another machine in its network would be.
const peer = `ip netns add peer && ip link add toPeer type veth peer name eth0 netns peer &&
	ip address add 10.55.0.1/24 dev toPeer && ip link set toPeer up &&
	ip -n peer address add 10.55.0.2/24 dev eth0 && ip -n peer link set lo up && ip -n peer link set eth0 up`

// checkTunnel makes a link of WireGuard by keys, whose other end is in the
// namespace peer and made by hand.
func (g *guest) checkTunnel(t *testing.T) {
	g.root(t, peer)
	g.root(t, "umask 077 && cd /root && wg genkey >a && wg genkey >b && wg pubkey <a >a.pub && wg pubkey <b >b.pub && wg genpsk >psk")
	r := g.pipe(t, `sudo sh -c 'sed -e "s|OURS|$(cat /root/a)|" -e "s|THEIRS|$(cat /root/b.pub)|" -e "s|BOTH|$(cat /root/psk)|" | ros config merge'`, strings.NewReader(`rancher:
  network:
    interfaces:
      wg0:
        address: 10.7.0.1/24
        wireguard:
          private_key: OURS
          listen_port: 51820
          peers: [{public_key: THEIRS, preshared_key: BOTH, allowed_ips: [10.7.0.2/32, 10.8.0.0/16]}]
`))
	if r.Exit != 0 {
		t.Fatalf("ros config merge: %s%s", r.Stdout, r.Stderr)
	}
	g.root(t, "system-docker restart network")
	g.eventually(t, "the link", 30*time.Second, g.succeeds("ip -br addr show wg0 | grep 10.7.0.1/24"))
	g.root(t, `ip -n peer link add wg1 type wireguard && ip -n peer address add 10.7.0.2/24 dev wg1 && ip -n peer address add 10.8.0.1/16 dev wg1 &&
		ip netns exec peer wg set wg1 private-key /root/b listen-port 51821 peer $(cat /root/a.pub) preshared-key /root/psk \
			allowed-ips 10.7.0.1/32 endpoint 10.55.0.1:51820 && ip -n peer link set wg1 up`)
	g.root(t, "ip netns exec peer ping -c 1 -W 10 10.7.0.1")
	g.root(t, "ping -c 1 -W 5 10.7.0.2 && ping -c 1 -W 5 10.8.0.1")
	if log := g.root(t, "cat /root/a; system-docker logs network 2>&1"); strings.Count(log, strings.Fields(log)[0]) != 1 {
		t.Errorf("the log shows the key:\n%s", log)
	}
}

// checkFirewall needs the namespace peer and the tunnel to it.
func (g *guest) checkFirewall(t *testing.T) {
	const open, published, shut, shutPublished, denied = 8081, 8082, 8083, 8084, 8085
	g.needImage(t)
	serve := func(options string, port int) {
		t.Helper()
		g.sh(t, `docker run -d --restart always %s %s sh -c 'mkdir /w && echo port %d >/w/index.html && exec httpd -f -h /w -p %d'`, options, image, port, port)
	}
	serve("--net host", open)
	serve("--net host", shut)
	serve("--net host", denied)
	// The ports that people see are not those of the containers.
	serve(fmt.Sprintf("-p %d:%d", published, shut), shut)
	serve(fmt.Sprintf("-p %d:%d", shutPublished, open), open)
	inside := map[int]int{open: open, published: shut, shut: shut, shutPublished: open, denied: denied}
	addrs := make(map[int]string)
	answers := func(port int) error { return pageSays(t.Context(), addrs[port], fmt.Sprintf("port %d", inside[port])) }
	// A closed port takes all the time that it gets, so it gets less.
	isOpen := func(port int) error {
		ctx := t.Context()
		if port != open && port != published {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, 3*time.Second)
			defer cancel()
		}
		return pageSays(ctx, addrs[port], fmt.Sprintf("port %d", inside[port]))
	}
	for port := range inside {
		addr, err := g.Forward(t.Context(), port)
		if err != nil {
			t.Fatal(err)
		}
		addrs[port] = addr
		g.eventually(t, fmt.Sprintf("port %d without a firewall", port), time.Minute, func() error { return answers(port) })
	}
	fromPeer := func(address string, port int) error {
		return g.succeeds(fmt.Sprintf("sudo ip netns exec peer timeout 3 bash -c '</dev/tcp/%s/%d'", address, port))()
	}
	r := g.pipe(t, "sudo ros config merge", strings.NewReader(fmt.Sprintf(`rancher:
  network:
    firewall:
      default: drop
      allow: [22, %d, %d from 0.0.0.0/0, 51820/udp, any on wg0]
      deny: [%d]
`, open, published, denied)))
	if r.Exit != 0 {
		t.Fatalf("ros config merge: %s%s", r.Stdout, r.Stderr)
	}
	g.root(t, "system-docker restart network")
	g.eventually(t, "the rules", 30*time.Second, g.succeeds("sudo nft list chain inet bulkhead firewall-in | grep -q 51820"))
	// QEMU's user network maps 10.0.2.2 to the build machine's loopback.
	outside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "outside") }))
	defer outside.Close()
	_, outsidePort, _ := net.SplitHostPort(outside.Listener.Addr().String())
	fromOutside := func(t *testing.T) {
		t.Helper()
		for port := range inside {
			err := isOpen(port)
			if opened := port == open || port == published; opened != (err == nil) {
				t.Errorf("port %d from outside: %v; want it open: %v", port, err, opened)
			}
		}
	}
	t.Run("ports are open and closed as configured", func(t *testing.T) {
		fromOutside(t)
		for port := range inside {
			if err := fromPeer("10.55.0.1", port); (port == open || port == published) != (err == nil) {
				t.Errorf("port %d from an interface that is not configured: %v", port, err)
			}
			if err := fromPeer("10.7.0.1", port); err != nil {
				t.Errorf("port %d through the tunnel: %v", port, err)
			}
			g.sh(t, "curl -sf -m 5 http://127.0.0.1:%d/ >/dev/null", port)
			g.sh(t, "docker run --rm %s wget -q -O /dev/null http://172.30.0.1:%d/", image, port)
		}
		g.root(t, "ip netns exec peer ping -c 1 -W 5 10.55.0.1")
		// A neighbour of IPv6 is found, and what the machine asks for comes back.
		g.root(t, "ip netns exec peer ping -c 1 -W 5 fe80::$(ip -6 addr show toPeer | sed -n 's/.*fe80::\\([^/]*\\).*/\\1/p')%%eth0")
		for _, fetch := range []string{"docker run --rm " + image + " wget -q -O -", "curl -s -m 5"} {
			if got := g.sh(t, "%s http://10.0.2.2:%s/", fetch, outsidePort); got != "outside" {
				t.Errorf("%s: %q; want outside", fetch, got)
			}
		}
	})
	t.Run("without User Docker too", func(t *testing.T) {
		before := g.root(t, "nft list table inet bulkhead")
		g.root(t, "system-docker kill docker")
		if after := g.root(t, "nft list table inet bulkhead"); after != before {
			t.Errorf("rules before:\n%s\nafter:\n%s", before, after)
		}
		if err := isOpen(shut); err == nil {
			t.Error("a closed port answers")
		}
		g.awaitHealthy(t, 2*time.Minute, "cloud-init")
		g.eventually(t, "a published port", time.Minute, func() error { return answers(published) })
		fromOutside(t)
	})
	g.root(t, "ros config set rancher.network.firewall.default accept && system-docker restart network")
	g.eventually(t, "a closed port opens", 30*time.Second, func() error { return answers(shut) })
	if err := isOpen(denied); err == nil {
		t.Error("a denied port answers")
	}
	g.root(t, "ros config set rancher.network.firewall.deny '[]' && system-docker restart network")
	g.eventually(t, "the denied port opens", 30*time.Second, func() error { return answers(denied) })
	if rules := g.root(t, "nft list table inet bulkhead"); strings.Contains(rules, "firewall") {
		t.Errorf("rules of a firewall that is off:\n%s", rules)
	}
}
