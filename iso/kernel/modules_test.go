package kernel

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMatch(t *testing.T) {
	all := make(modules)
	for _, p := range []string{
		"kernel/fs/ext4/ext4.ko.xz", "kernel/drivers/net/ethernet/intel/ice/ice.ko.xz", "kernel/drivers/net/dummy.ko.xz",
		"kernel/drivers/usb/host/xhci-hcd.ko.xz", "kernel/drivers/block/null_blk/null_blk.ko.xz", "kernel/sound/snd.ko.xz",
	} {
		all.add(p, nil)
	}
	rules := parseRules("# comment\nfs/ext4/\ndrivers/net/\n!drivers/net/ethernet/\nxhci_hcd\ndrivers/block/\n!null_blk\nice\n")
	want := []string{"dummy", "ext4", "ice", "xhci_hcd"}
	if diff := cmp.Diff(want, all.match(rules)); diff != "" {
		t.Error(diff)
	}
}

// TestLists: a line that is neither a folder nor a name keeps nothing.
func TestLists(t *testing.T) {
	for name, list := range map[string]string{"modules": modulesList, "initramfs": initramfsList, "hot": hotList} {
		seen := make(map[rule]bool)
		for _, r := range parseRules(list) {
			if seen[r] {
				t.Errorf("%s.list: %+v is there twice", name, r)
			}
			seen[r] = true
		}
	}
}
