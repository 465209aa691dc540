package e2e

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-os/bulkhead/e2e/qemutest"
)

// foreignNetwork is a network-config as other systems have it, for a machine with
// three cards: the kernel calls them eth0 to eth2.
const foreignNetwork = `version: 2
ethernets:
  first:
    match: {macaddress: "52:54:00:12:34:56"}
    set-name: lan0
    dhcp4: true
    dhcp4-overrides: {use-routes: false, use-dns: false}
  second:
    match: {macaddress: "52:54:00:00:00:03"}
    dhcp4: true
    dhcp4-overrides: {route-metric: 50}
  ens192:
    addresses: [10.9.0.2/24]
    routes: [{to: 10.60.0.0/16, via: 10.9.0.1, table: 7}]
    routing-policy: [{from: 10.9.0.2, table: 7, priority: 77}]
`

func TestNetworkNames(t *testing.T) {
	forRelease(t, "TestNetworkConfig has the same ways, in our own words")
	t.Parallel()
	qemutest.Need(t, qemutest.Binary, "xorriso")
	dir := t.TempDir()
	key := newKey(t)
	seed := qemutest.Seed{
		Kind: qemutest.NoCloud, Format: qemutest.VFAT, Network: foreignNetwork,
		UserData: "#cloud-config\nssh_authorized_keys: ['" + key.Authorized + "']\n",
	}
	path := filepath.Join(dir, "seed.img")
	if err := seed.Write(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	options := netBoot(t, "rancher.cloud_init.datasources=[nocloud]")
	options.Args = []string{
		"-netdev", "user,id=net1,net=10.0.3.0/24", "-device", "virtio-net-pci,netdev=net1,mac=52:54:00:00:00:03,romfile=",
		"-netdev", "hubport,id=hub1,hubid=1", "-device", "virtio-net-pci,netdev=hub1,mac=52:54:00:00:00:04,romfile=",
	}
	options.Disks = []qemutest.Disk{{Path: path, ReadOnly: true}}
	g := boot(t, options, key)

	for _, want := range []struct{ command, text string }{
		{"ip -br -4 addr show lan0", "10.0.2.15/24"},
		{"ip -br -4 addr show eth2", "10.9.0.2/24"},
		{"ip route show table 7", "10.60.0.0/16 via 10.9.0.1 dev eth2"},
		{"ip rule", "77:\tfrom 10.9.0.2 lookup 7"},
	} {
		if got := g.sh(t, "%s", want.command); !strings.Contains(got, want.text) {
			t.Errorf("%s:\n%s\nwant in it %q", want.command, got, want.text)
		}
	}
	g.eventually(t, "the second card's lease", time.Minute, g.succeeds("ip -4 addr show eth1 | grep -q 10.0.3.15"))
	if got := g.sh(t, "ip route show default"); strings.Count(got, "default") != 1 || !strings.Contains(got, "via 10.0.3.2 dev eth1") || !strings.Contains(got, "metric 50") {
		t.Errorf("default routes:\n%s\nwant one, by 10.0.3.2 on eth1, metric 50", got)
	}
	if got := g.sh(t, "grep ^nameserver /etc/resolv.conf"); strings.TrimSpace(got) != "nameserver 10.0.3.3" {
		t.Errorf("name servers: %s; want 10.0.3.3 alone", got)
	}
	if got := g.root(t, "ros config validate --machine"); strings.TrimSpace(got) != "" {
		t.Errorf("problems: %s", got)
	}
}
