package main

import (
	"errors"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func testDrivers(t *testing.T) (*fake, *drivers) {
	t.Helper()
	f := newFake("")
	f.files["/m/modules.dep"] = `kernel/drivers/ata/ahci.ko: kernel/drivers/ata/libahci.ko kernel/drivers/ata/libata.ko kernel/scsi_mod.ko
kernel/drivers/ata/libahci.ko: kernel/drivers/ata/libata.ko kernel/scsi_mod.ko
kernel/drivers/ata/libata.ko: kernel/scsi_mod.ko
kernel/scsi_mod.ko:
kernel/nvme-core.ko.xz:
kernel/fs/ext4.ko: kernel/jbd2.ko
kernel/jbd2.ko:
kernel/crc32c_generic.ko:
kernel/crc32c-intel.ko:
kernel/loop-a.ko:
kernel/loop-b.ko:
`
	f.files["/m/modules.alias"] = `# Aliases extracted from modules themselves.
alias pci:v*d*sv*sd*bc01sc06i01* ahci
alias pci:v00008086d00002652sv*sd*bc*sc*i* ahci
alias fs-ext4 ext4
alias crc32c crc32c_generic
alias crc32c crc32c_intel
alias pci:v0000DEADd*sv*sd*bc*sc*i* not_in_initramfs
`
	f.files["/m/modules.softdep"] = `# Soft dependencies
softdep ext4 pre: crc32c post: nvme_core
softdep loop_a pre: loop_b
softdep loop_b pre: loop_a
`
	d, err := readDrivers(f, "/m")
	if err != nil {
		t.Fatal(err)
	}
	return f, d
}

func TestDriverPlan(t *testing.T) {
	_, d := testDrivers(t)
	tests := map[string][]string{
		"pci:v00001022d00001234sv1sd2bc01sc06i01": {"kernel/scsi_mod.ko", "kernel/drivers/ata/libata.ko", "kernel/drivers/ata/libahci.ko", "kernel/drivers/ata/ahci.ko"},
		"pci:v00001022d00001234sv1sd2bc02sc06i01": nil,
		"pci:v0000DEADd00001234sv1sd2bc02sc06i01": nil,
		"nvme-core": {"kernel/nvme-core.ko.xz"},
		"nvme_core": {"kernel/nvme-core.ko.xz"},
		"fs-ext4":   {"kernel/crc32c_generic.ko", "kernel/crc32c-intel.ko", "kernel/jbd2.ko", "kernel/fs/ext4.ko"},
		"fs-zfs":    nil,
		"loop-a":    {"kernel/loop-b.ko", "kernel/loop-a.ko"},
	}
	for name, want := range tests {
		if diff := cmp.Diff(want, d.plan(name)); diff != "" {
			t.Errorf("plan(%s) (-want +got):\n%s", name, diff)
		}
	}
}

func TestDriverLoad(t *testing.T) {
	f, d := testDrivers(t)
	f.refuse["module /m/kernel/drivers/ata/libahci.ko"] = syscall.ENOMEM
	const ahci = "pci:v00008086d00002652sv1sd2bc01sc06i01"
	for range 2 {
		if err := d.load(ahci); !errors.Is(err, syscall.ENOMEM) {
			t.Errorf("load() = %v; want ENOMEM", err)
		}
	}
	d.driveAll([]string{ahci, "libata", "fs-ext4", "nothing"})
	// Each once, and nothing that needs what failed.
	if diff := cmp.Diff([]string{
		"module /m/kernel/scsi_mod.ko", "module /m/kernel/drivers/ata/libata.ko", "module /m/kernel/drivers/ata/libahci.ko",
	}, f.matching("module")[:3]); diff != "" {
		t.Error(diff)
	}
	if n := len(f.matching("module")); n != 7 {
		t.Errorf("%d modules loaded; want 7: %q", n, f.calls)
	}
}

// TestProcessorWithoutCRC32C: ext4 is there on a processor that cannot compute
// its checksums itself.
func TestProcessorWithoutCRC32C(t *testing.T) {
	f, d := testDrivers(t)
	f.refuse["module /m/kernel/crc32c-intel.ko"] = syscall.ENODEV
	if err := d.load("fs-ext4"); err != nil {
		t.Error(err)
	}
	if len(f.matching("module /m/kernel/fs/ext4.ko")) != 1 {
		t.Errorf("ext4 is not loaded: %q", f.calls)
	}
}
