package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-os/bulkhead/e2e/qemutest"
	"github.com/bulkhead-os/bulkhead/internal/bootstate"
	"github.com/bulkhead-os/bulkhead/internal/bootstate/bootcases"
)

// slotConfig is a system that only tells what it was started with, and starts
// the machine again.
const slotConfig = `set title=Test
function boot_slot {
  echo "starts slot=$2 args=<$args> end"
  reboot
}
`

// started is what slotConfig prints.
var started = regexp.MustCompile(`starts slot=([ab]) args=<([^>]*)> end`)

// checkBootState runs the table of what a boot loader does with a boot state
// against GRUB, on an installed disk whose systems only tell that they start. The
// same table runs against the Go code: internal/bootstate.
func checkBootState(t *testing.T, installed string, uefi bool) {
	qemutest.Need(t, "mkfs.ext4", "cp")
	parts := partsOf(t, installed)
	dir := t.TempDir()
	slots := make(map[bool][]byte) // by whether it is whole
	for whole, files := range map[bool]map[string]string{true: {"boot/slot.cfg": slotConfig}, false: {"boot/vmlinuz": "half"}} {
		path := filepath.Join(dir, fmt.Sprint(whole))
		if err := qemutest.MakeExt4(t.Context(), path, "", 8, files); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		slots[whole] = content
	}
	image := filepath.Join(dir, "disk.img")
	if err := qemutest.CopyDisk(t.Context(), image, installed); err != nil {
		t.Fatal(err)
	}
	for _, c := range bootcases.All() {
		t.Run(c.Name, func(t *testing.T) {
			writes := map[int64][]byte{
				parts[3].start + bootstate.OS1Offset:  c.Blocks.OS1,
				parts[3].start + bootstate.OS2Offset:  c.Blocks.OS2,
				parts[3].start + bootstate.GrubOffset: c.Blocks.Grub,
				parts[4].start:                        slots[c.Lost != bootstate.A],
				parts[5].start:                        slots[c.Lost != bootstate.B],
			}
			f, err := os.OpenFile(image, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			for at, data := range writes {
				if _, err := f.WriteAt(data, at); err != nil {
					t.Fatal(err)
				}
			}
			vm := qemutest.StartT(t, qemutest.Options{
				Name: "grub", Medium: qemutest.HardDisk, MemoryMB: 256, CPUs: 1, UEFI: uefi,
				Disks: []qemutest.Disk{{Path: image, ReadOnly: c.WriteProtected}},
			})
			defer vm.Kill()
			var got []bootstate.Slot
			for i, match := range awaitStarts(t, vm, len(c.Boots)) {
				got = append(got, bootstate.Slot(match[1]))
				if args := strings.TrimSpace(match[2]); args != strings.TrimSpace(c.Args) {
					t.Errorf("boot %d: arguments %q; want %q", i+1, args, c.Args)
				}
			}
			if !slices.Equal(got, c.Boots) {
				t.Errorf("boots %v; want %v", got, c.Boots)
			}
		})
	}
}

// awaitStarts waits until systems have started n times.
func awaitStarts(t *testing.T, vm *qemutest.VM, n int) (starts [][]string) {
	t.Helper()
	err := vm.Await(fmt.Sprintf("%d starts of a system", n), time.Duration(n)*15*time.Second, func(ctx context.Context) error {
		for {
			starts = nil
			for _, line := range vm.Console.Since(0) {
				if match := started.FindStringSubmatch(line); match != nil {
					starts = append(starts, match)
				}
			}
			if len(starts) >= n {
				return nil
			}
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(100 * time.Millisecond):
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return starts[:n]
}
