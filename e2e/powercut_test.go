package e2e

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-os/bulkhead/e2e/qemutest"
)

// cloudConfig is the file that ros config set writes, as the machine and as the
// state partition name it.
const cloudConfig = "/var/lib/rancher/conf/cloud-config.yml"

// A loggedDisk is a state disk whose writes are logged.
type loggedDisk struct {
	qemutest.Disk
	// base is a copy from before the machine started.
	base string
}

func newLoggedDisk(t *testing.T) loggedDisk {
	t.Helper()
	qemutest.Need(t, "cp", "e2fsck", "debugfs")
	path := stateDisk(t, nil)
	d := loggedDisk{Disk: qemutest.Disk{Path: path, WriteLog: path + ".log"}, base: path + ".base"}
	if err := qemutest.CopyDisk(t.Context(), d.base, path); err != nil {
		t.Fatal(err)
	}
	// The log does not grow beyond the size that its file has; it is sparse.
	if err := qemutest.MakeDisk(d.WriteLog, 16<<10); err != nil {
		t.Fatal(err)
	}
	return d
}

// checkPowerCuts changes the configuration again and again, and looks at what
// power cuts at random moments of that would have left on the disk: the file
// is the old or the new one, and what was acknowledged is not lost.
func (g *guest) checkPowerCuts(t *testing.T, d loggedDisk) {
	const rounds, cuts = 8, 50
	log, err := qemutest.OpenWriteLog(d.WriteLog, d.base)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	position := func() int {
		t.Helper()
		n, err := log.Len()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	// Longer than one block, so that half a file would be one.
	g.root(t, "ros config set rancher.environment.PADDING %s && ros config set rancher.environment.ROUND 0; sync", strings.Repeat("x", 9000))
	if err := log.Settle(); err != nil {
		t.Fatal(err)
	}
	read := func() string { return g.root(t, "cat %s", cloudConfig) }
	texts, begun, acknowledged := []string{read()}, []int{0}, []int{position()}
	for round := 1; round <= rounds; round++ {
		begun = append(begun, position())
		g.root(t, "ros config set rancher.environment.ROUND %d", round)
		acknowledged = append(acknowledged, position())
		texts = append(texts, read())
	}
	dice := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	image := filepath.Join(t.TempDir(), "cut.img")
	for range cuts {
		at := acknowledged[0] + dice.IntN(acknowledged[rounds]-acknowledged[0]) + 1
		seed := dice.Uint64()
		if err := log.Cut(t.Context(), image, at, rand.New(rand.NewPCG(seed, 0))); err != nil {
			t.Fatal(err)
		}
		raw, err := qemutest.Ext4File(t.Context(), image, cloudConfig)
		if err != nil {
			t.Fatalf("cut after %d writes, seed %d: %v", at, seed, err)
		}
		var possible []string
		for round, text := range texts {
			if begun[round] <= at && (round == rounds || at < acknowledged[round+1]) {
				possible = append(possible, text)
			}
		}
		if got := strings.TrimRight(string(raw), "\n"); !slices.Contains(possible, got) {
			t.Errorf("cut after %d writes, seed %d: the file is none of the %d that it may be:\n%q", at, seed, len(possible), got)
		}
		if err := os.Remove(image); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d power cuts in %d writes, %d changes: the file was the old or the new one", cuts, acknowledged[rounds]-acknowledged[0], rounds)
}
