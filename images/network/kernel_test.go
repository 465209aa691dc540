package network

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/bulkhead-os/bulkhead/internal/milestone"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

// inNamespace puts the test into a network namespace of its own.
func inNamespace(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root, for a network namespace")
	}
	// The thread ends with the test's goroutine, and the namespace with it.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("network namespace: %v", err)
	}
	if err := setDefaults(); err != nil {
		t.Skip(err)
	}
}

// addCard makes an interface that stands for a network card.
func addCard(t *testing.T, name string) {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	if err := netlink.LinkAdd(&netlink.Ifb{LinkAttrs: attrs}); err != nil {
		t.Skipf("link of kind ifb: %v", err)
	}
}

// newTestService returns a service, and the commands that it ran.
func newTestService(t *testing.T, cfg osconfig.Network) (*service, *[]string) {
	t.Helper()
	dir := t.TempDir()
	log := slog.New(slog.DiscardHandler)
	p := &publisher{log: log, dir: dir, ready: milestone.Milestone(dir + "/ready"), etc: dir, ntp: dir, hostname: filepath.Join(dir, "kernel-hostname"),
		links: "/sys/class/net", plans: filepath.Join(dir, "links"), problems: filepath.Join(dir, "problems")}
	if err := os.WriteFile(p.hostname, []byte("ship\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var ran []string
	return &service{
		log: log, kernel: kernel{}, dhcpcd: &client{log: log}, files: p, cfg: cfg,
		shipped: filepath.Join("rootfs", shippedConfig),
		run: func(_ context.Context, c osconfig.Command, iface string) error {
			ran = append(ran, iface+": "+strings.Join(c, " "))
			return nil
		},
		own: func([]string) {}, protect: func(context.Context, string) error { return nil }, tunnels: newTunnels(log),
		hooked: make(map[string]bool), told: make(map[string]bool),
	}, &ran
}

// Bonds and VLANs are for the end-to-end test: few build hosts have the modules.
func TestKernel(t *testing.T) {
	inNamespace(t)
	for _, name := range []string{"eth0", "eth1", "eth2"} {
		addCard(t, name)
	}
	cfg := config(t, `      eth0: {addresses: [10.1.0.2/24, 'fd00:1::2/64'], gateway: 10.1.0.1, gateway_ipv6: 'fd00:1::1', mtu: 1400, pre_up: [[one]], post_up: [[two]]}
      eth1: {bridge: br0}
      eth2: {bridge: br0}
      br0: {bridge: 'true', address: 10.3.0.2/24, gateway: 10.3.0.1}
`)
	cfg.DNS.Nameservers, cfg.DNS.Search = []osconfig.Address{"10.1.0.53"}, []osconfig.Domain{"lab.test"}
	s, ran := newTestService(t, cfg)
	if err := s.apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	check := func(want string) {
		t.Helper()
		if diff := cmp.Diff(want, state(t)); diff != "" {
			t.Error(diff)
		}
	}
	check(`br0 bridge mtu 1500 addresses [10.3.0.2/24] gateways [10.3.0.1]
eth0 ifb mtu 1400 addresses [10.1.0.2/24 fd00:1::2/64] gateways [10.1.0.1 fd00:1::1]
eth1 ifb mtu 1500 in br0
eth2 ifb mtu 1500 in br0
lo device mtu 65536
`)
	if diff := cmp.Diff([]string{"eth0: one", "eth0: two"}, *ran); diff != "" {
		t.Error(diff)
	}
	resolv, err := os.ReadFile(s.files.etc + "/resolv.conf")
	if err != nil || !strings.HasSuffix(string(resolv), "\nsearch lab.test\nnameserver 10.1.0.53\n") {
		t.Errorf("resolv.conf %q, %v", resolv, err)
	}
	if err := s.files.ready.Check(t.Context()); err != nil {
		t.Error(err)
	}

	// Again: nothing changes, and nothing has to.
	changes := &counter{kernel: kernel{}}
	s.kernel = changes
	if err := s.apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	if changes.did != nil {
		t.Errorf("applied twice, it changes %v", changes.did)
	}

	// A card that comes later, and another configuration.
	addCard(t, "eth3")
	s.cfg = config(t, `      eth0: {address: 10.1.0.3/24, gateway: 10.1.0.1}
      eth1: {address: 10.4.0.2/24}
      lan: {match: eth3, set_name: lan0, address: 10.5.0.2/24}
      eth9: {address: 10.6.0.2/24}
`)
	for range 2 { // the second time it has the name already
		if err := s.apply(t.Context()); err != nil {
			t.Fatal(err)
		}
		check(`eth0 ifb mtu 1400 addresses [10.1.0.3/24] gateways [10.1.0.1]
eth1 ifb mtu 1500 addresses [10.4.0.2/24]
eth2 ifb mtu 1500
lan0 ifb mtu 1500 addresses [10.5.0.2/24]
lo device mtu 65536
`)
	}
	told, err := os.ReadFile(s.files.problems)
	if want := "rancher.network.interfaces.eth9: no such interface yet; there is no network card\n"; err != nil || string(told) != want {
		t.Errorf("problems are %q, %v; want %q", told, err, want)
	}
}

// One wrong entry costs no other.
func TestBrokenEntry(t *testing.T) {
	inNamespace(t)
	addCard(t, "eth0")
	addCard(t, "eth1")
	s, _ := newTestService(t, config(t, `      eth0: {address: 10.1.0.2/24, gateway: 'fe80::99', mtu: 68, bridge: br0}
      eth1: {address: 10.2.0.2/24, gateway: 10.9.0.1}
`))
	if err := s.apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := state(t)
	const want = "eth1 ifb mtu 1500 addresses [10.2.0.2/24] gateways [10.9.0.1]\n"
	if !strings.Contains(got, want) {
		t.Errorf("state is\n%s; want in it %s", got, want)
	}
}

func TestWatch(t *testing.T) {
	inNamespace(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	changed := make(chan struct{}, 8)
	ended := make(chan error, 1)
	follow, err := kernel{}.watch(ctx, func() { changed <- struct{}{} })
	if err != nil {
		t.Fatal(err)
	}
	go func() { ended <- follow() }()
	addCard(t, "eth0")
	select {
	case <-changed:
	case err := <-ended:
		t.Fatal(err)
	case <-ctx.Done():
		t.Fatal("a new link is not noticed")
	}
}

type counter struct {
	kernel
	did []string
}

func (c *counter) do(a Action) error {
	c.did = append(c.did, a.String())
	return c.kernel.do(a)
}

// state describes the namespace's links, without link-local addresses.
func state(t *testing.T) string {
	t.Helper()
	links, err := kernel{}.links()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, l := range links {
		b.WriteString(l.Name + " " + l.Kind + " mtu " + strconv.Itoa(l.MTU))
		if l.Master != "" {
			b.WriteString(" in " + l.Master)
		}
		var addresses, gateways []string
		for _, a := range l.Addresses {
			if !a.Addr().IsLinkLocalUnicast() && !a.Addr().IsLoopback() {
				addresses = append(addresses, a.String())
			}
		}
		for _, g := range l.Gateways {
			gateways = append(gateways, g.String())
		}
		slices.Sort(gateways)
		if addresses != nil {
			b.WriteString(" addresses [" + strings.Join(addresses, " ") + "]")
		}
		if gateways != nil {
			b.WriteString(" gateways [" + strings.Join(gateways, " ") + "]")
		}
		b.WriteString("\n")
	}
	return b.String()
}
