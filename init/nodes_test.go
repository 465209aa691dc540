package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStaticNodes(t *testing.T) {
	got, err := staticNodes(`# Device nodes to trigger on-demand module loading.
fuse fuse c10:229
tun net/tun c10:200
md_mod md0 b9:0

bad ../sda b8:0
bad x c10
bad y d1:2
`)
	want := []node{{"/dev/fuse", false, 10, 229}, {"/dev/net/tun", false, 10, 200}, {"/dev/md0", true, 9, 0}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(node{})); diff != "" {
		t.Errorf("nodes (-want +got):\n%s", diff)
	}
	const lines = `"bad ../sda b8:0": want a module, a path below /dev and a number
"bad x c10": want a number like c10:200
"bad y d1:2": want a number like c10:200`
	if err == nil || err.Error() != lines {
		t.Errorf("error %v; want\n%s", err, lines)
	}
}

// A driver that is there has made its node already.
func TestMakeNodes(t *testing.T) {
	f := newFake("")
	f.files["/bulkhead/modules/6.12.0-test/modules.devname"] = "fuse fuse c10:229\ntun net/tun c10:200\nkvm kvm c10:232\n"
	f.files["/dev/fuse"] = ""
	f.files["/dev"] = ""
	b := newBoot(f)
	b.kernel = testKernel
	if err := makeNodes(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	want := []string{"mkdir /dev/net 0755", "node /dev/net/tun 20600 10:200", "node /dev/kvm 20600 10:232"}
	if diff := cmp.Diff(want, f.calls); diff != "" {
		t.Error(diff)
	}
}
