package network

import (
	"testing"

	"github.com/vishvananda/netlink"
)

func TestNewBond(t *testing.T) {
	b, errs := newBond(netlink.NewLinkAttrs(), map[string]string{
		"mode": "802.3ad", "lacp_rate": "1", "xmit_hash_policy": "layer3+4", "arp_ip_target": "10.0.0.1, 10.0.0.2",
		"miimon": "100 ", "primary": "eth0", "mode2": "1", "updelay": "soon",
	})
	if b.Mode != netlink.BOND_MODE_802_3AD || b.LacpRate != netlink.BOND_LACP_RATE_FAST ||
		b.XmitHashPolicy != netlink.BOND_XMIT_HASH_POLICY_LAYER3_4 || b.Miimon != 100 || len(b.ArpIpTargets) != 2 || b.UpDelay != -1 {
		t.Errorf("bond is %+v", b)
	}
	if len(errs) != 3 {
		t.Errorf("errors %v; want three: of mode2, primary and updelay", errs)
	}
	if b, _ := newBond(netlink.NewLinkAttrs(), nil); b.Miimon != 100 {
		t.Errorf("a bond without options looks after its members every %d ms; want 100", b.Miimon)
	}
}
