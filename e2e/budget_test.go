package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/bulkhead-os/bulkhead/e2e/budget"
	"github.com/bulkhead-os/bulkhead/e2e/qemutest"
)

// The first bar of docs/budgets.md. Times are ratios to a Debian that runs the
// same engine in the same QEMU, so that a slow machine does not matter.
func TestBudgets(t *testing.T) {
	forRelease(t, "it needs a quiet machine")
	qemutest.Need(t, qemutest.Binary, "mmdebstrap", "mkfs.ext4", "qemu-img", "xorriso")
	iso := artifact(t, isoName)
	if os.Getuid() != 0 {
		qemutest.Missing(t, "making the Debian peer needs root")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir("..") // BuildPeer wants the root of the repository
	peer, err := budget.BuildPeer(t.Context(), filepath.Join(cache, "bulkhead"), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	r, err := budget.Compare(t.Context(), iso, peer)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", r)
	if mb := float64(r.ISOBytes) / 1e6; mb > 110 {
		t.Errorf("ISO has %.1f MB; want at most 110", mb)
	}
	if ratio := r.ReadyRatio(); ratio > 0.75 {
		t.Errorf("both Docker APIs answer after %.2f times the peer's time; want at most 0.75", ratio)
	}
	// An emulated processor is slower than a real one; how much, the same work
	// on the host tells.
	slowness := max(1, r.Ours.Configuration.Slowness())
	if took := r.Ours.Configuration.Sample.Seconds() * 1000; took > 20*slowness {
		t.Errorf("the largest sample takes %.1f ms of CPU; want at most 20 × %.1f", took, slowness)
	}
	if took := r.Ours.Configuration.Boot.Seconds(); took > 0.3*slowness {
		t.Errorf("reading the configuration takes %.2f s of the boot; want at most 0.3 × %.1f", took, slowness)
	}
	if ratio := r.MemoryRatio(); ratio > 1.2 {
		t.Errorf("memory in use is %.2f times the peer's; want at most 1.2", ratio)
	}
}
