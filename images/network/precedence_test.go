package network

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A bridge with the addresses of the machine's own network, which is there first,
// takes nothing from it; what goes elsewhere is as it was.
func TestPrecedence(t *testing.T) {
	inNamespace(t)
	for _, name := range []string{"br-0123456789ab", "eth0", "docker0"} {
		addCard(t, name)
	}
	up := func(name string, prefix string) netlink.Link {
		t.Helper()
		link, err := netlink.LinkByName(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := netlink.LinkSetUp(link); err != nil {
			t.Fatal(err)
		}
		if err := netlink.AddrReplace(link, &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix(prefix))}); err != nil {
			t.Fatal(err)
		}
		return link
	}
	up("br-0123456789ab", "10.0.2.1/24")
	up("docker0", "172.17.0.1/16")
	eth0 := up("eth0", "10.0.2.15/24")
	if err := netlink.RouteReplace(defaultRoute(eth0, netip.MustParseAddr("10.0.2.2"))); err != nil {
		t.Fatal(err)
	}
	leads := func(to, want string) {
		t.Helper()
		routes, err := netlink.RouteGet(net.ParseIP(to))
		if err != nil || len(routes) != 1 {
			t.Fatalf("route to %s: %v, %v", to, routes, err)
		}
		link, err := netlink.LinkByIndex(routes[0].LinkIndex)
		if err != nil || link.Attrs().Name != want {
			t.Errorf("%s is reached by %v, %v; want %s", to, link.Attrs().Name, err, want)
		}
	}
	leads("10.0.2.9", "br-0123456789ab")

	p := newPrecedence(slog.New(slog.DiscardHandler))
	p.of([]string{"eth0"})
	for range 2 {
		if err := p.sync(); err != nil {
			t.Fatal(err)
		}
		leads("10.0.2.9", "eth0")
		leads("172.17.0.2", "docker0")
		leads("8.8.8.8", "eth0")
	}

	// Only the machine's own way leads to what describes it, whatever bridges there are.
	up("docker0", "169.254.169.1/24")
	if err := p.sync(); err != nil {
		t.Fatal(err)
	}
	leads("169.254.169.254", "eth0")
	leads("169.254.169.7", "docker0")

	// The address goes, and with it the route.
	if err := netlink.AddrDel(eth0, &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix("10.0.2.15/24"))}); err != nil {
		t.Fatal(err)
	}
	if err := p.sync(); err != nil {
		t.Fatal(err)
	}
	leads("10.0.2.9", "br-0123456789ab")
	if _, err := netlink.RouteGet(net.ParseIP("169.254.169.254")); !errors.Is(err, unix.EHOSTUNREACH) {
		t.Errorf("without a way of the machine's own: %v; want %v", err, unix.EHOSTUNREACH)
	}
}
