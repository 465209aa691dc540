package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-os/bulkhead/e2e/qemutest"
)

// A target is a machine to install to.
type target struct {
	uefi, secure bool
	// network: the installing system comes from there, not from the ISO.
	network bool
	disk    qemutest.Controller
	sector  int // 512 when zero
}

func (w target) String() string {
	firmware, sector := "BIOS", 512
	switch {
	case w.secure:
		firmware = "Secure Boot"
	case w.uefi:
		firmware = "UEFI"
	}
	if w.sector != 0 {
		sector = w.sector
	}
	if w.network {
		firmware += " network"
	}
	return fmt.Sprintf("%s %s %d", firmware, w.disk, sector)
}

// targets are all that there are: no BIOS boots from sectors of 4 KiB, and QEMU
// has no SATA disk with them.
func targets() []target {
	list := []target{{disk: qemutest.VirtioBlk}, {uefi: true, disk: qemutest.NVMe}}
	for _, c := range []qemutest.Controller{qemutest.AHCI, qemutest.NVMe, qemutest.USBStorage, qemutest.VirtioSCSI} {
		list = append(list, target{disk: c})
	}
	list = append(list,
		target{uefi: true, secure: true, disk: qemutest.VirtioBlk},
		target{network: true, disk: qemutest.VirtioBlk})
	for _, c := range []qemutest.Controller{qemutest.VirtioBlk, qemutest.VirtioSCSI, qemutest.USBStorage} {
		list = append(list, target{uefi: true, disk: c})
	}
	for _, c := range []qemutest.Controller{qemutest.VirtioBlk, qemutest.NVMe, qemutest.VirtioSCSI, qemutest.USBStorage} {
		list = append(list, target{uefi: true, disk: c, sector: 4096})
	}
	return list
}

// installMB is the size of the disks that are installed to; they are sparse.
const installMB = 8 << 10

// installConfig asks for an installation, and for something to be seen on the
// installed machine.
const installConfig = `rancher:
  install: {device: auto, append: e2e.installed=yes}
write_files:
  - {path: /opt/cargo, content: tea}
`

// TestInstall installs from the ISO with nobody at the machine, and boots the
// disk without the ISO and without what configured the first boot.
func TestInstall(t *testing.T) {
	forRelease(t, "each installation takes as long as five boots")
	for _, w := range targets() {
		t.Run(w.String(), func(t *testing.T) {
			t.Parallel()
			testInstall(t, w)
		})
	}
}

func testInstall(t *testing.T, w target) {
	iso := artifact(t, isoName)
	dir := t.TempDir()
	disk := qemutest.Disk{Path: filepath.Join(dir, "disk.img"), Controller: w.disk, Sector: w.sector}
	if err := qemutest.MakeDisk(disk.Path, installMB); err != nil {
		t.Fatal(err)
	}
	logged := w == targets()[0]
	if logged {
		disk = logWrites(t, disk)
	}
	seed, err := newSeed(dir, installConfig)
	if err != nil {
		t.Fatal(err)
	}
	// It ends where it would reboot.
	options := qemutest.Options{ISO: iso, UEFI: w.uefi, SecureBoot: w.secure, Disks: []qemutest.Disk{disk}, DiskFirst: true, Args: []string{"-no-reboot"}}
	if w.network {
		// As PXE does. The configuration may be on the kernel line, too.
		options.ISO, options.Medium, options.DiskFirst = "", qemutest.Kernel, false
		options.Kernel, options.Initrd = artifact(t, "vmlinuz"), artifact(t, "initrd")
		options.Append = "console=ttyS0 panic=10 gpt rancher.install.append=e2e.installed=yes"
	}
	installing := installUnattended(t, seed.in(options))
	if _, err := installing.AwaitExit("reboot", 30*time.Second); err != nil {
		t.Fatal(err)
	}
	if logged {
		t.Run("power cuts", func(t *testing.T) { checkInstallCuts(t, disk) })
		disk.WriteLog = ""
	}

	g := boot(t, qemutest.Options{Medium: qemutest.HardDisk, UEFI: w.uefi, SecureBoot: w.secure, Disks: []qemutest.Disk{disk}}, seed.key)
	g.checkInstalled(t, w)
	g.try(t, "sudo poweroff")
	if _, err := g.AwaitExit("power off", 60*time.Second); err != nil {
		t.Fatal(err)
	}
	for number, kind := range map[int]string{3: "ext2", 4: "ext4", 6: "ext4", 7: "ext4"} {
		checkPartition(t, disk.Path, number, kind)
	}
	if logged || w == targets()[1] {
		t.Run("boot state", func(t *testing.T) { checkBootState(t, disk.Path, w.uefi) })
	}
	if w == targets()[1] {
		t.Run("not twice", func(t *testing.T) {
			options.Disks[0], options.DiskFirst, options.Args = disk, false, nil
			again := start(t, options, seed)
			if _, err := again.AwaitConsole("word about the installation", 30*time.Second, 0, regexp.MustCompile(`bulkhead: install: /dev/\S+ has this installation`)); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// installUnattended boots a machine whose configuration asks for an installation,
// and waits until that is done.
func installUnattended(t *testing.T, o qemutest.Options) *qemutest.VM {
	t.Helper()
	vm := qemutest.StartT(t, o, expected...)
	if _, err := vm.AwaitConsole("end of the installation", 3*bootDeadline, 0, regexp.MustCompile(`bulkhead: install: done \{.*"device":"/dev/`)); err != nil {
		t.Fatal(err)
	}
	return vm
}

// checkInstalled checks a machine that booted from the disk.
func (g *guest) checkInstalled(t *testing.T, w target) {
	t.Helper()
	g.awaitHealthy(t, 60*time.Second)
	line := g.sh(t, "cat /proc/cmdline")
	if !regexp.MustCompile(`\bgpt\b.* bulkhead\.slot=a bulkhead\.part=[0-9a-f-]{36} e2e\.installed=yes`).MatchString(line) {
		t.Errorf("kernel command line: %s", line)
	}
	// The last one's pattern must not be found in sudo's own log of it.
	for what, command := range map[string]string{
		"the host name":                    "[ $(hostname) = ship ]",
		"a file of the configuration":      "[ $(cat /opt/cargo) = tea ]",
		"the system from the slot":         "findmnt -no FSTYPE,OPTIONS /bulkhead/medium | grep -q '^ext4 *ro'",
		"the state partition":              "[ $(lsblk -no PARTLABEL $(findmnt -nvo SOURCE /var/lib/rancher | sed 's/\\[.*//')) = bulkhead-state ]",
		"people's files on theirs":         "[ $(lsblk -no PARTLABEL $(findmnt -nvo SOURCE /home | sed 's/\\[.*//')) = bulkhead-data ]",
		"user Docker's data on theirs":     "[ $(lsblk -no PARTLABEL $(findmnt -nvo SOURCE /var/lib/docker | sed 's/\\[.*//')) = bulkhead-data ]",
		"no mistakes":                      "sudo ros config validate --machine",
		"no second installation by itself": "! sudo grep -rq 'bulkhead: install: [t]o' /var/log",
	} {
		if r := g.try(t, command); r.Exit != 0 {
			t.Errorf("%s: %s: exit code %d\n%s%s", what, command, r.Exit, r.Stdout, r.Stderr)
		}
	}
	// Damage in the image is an error, not other content.
	if r := g.try(t, "sudo ros install --auto --dry-run"); r.Exit != 1 || !strings.Contains(r.Stderr, "is what this system runs from") {
		t.Errorf("ros install onto the disk that runs: exit code %d, %s", r.Exit, r.Stderr)
	}
	if lockdown := g.root(t, "cat /sys/kernel/security/lockdown"); strings.Contains(lockdown, "[integrity]") != w.secure {
		t.Errorf("kernel lockdown: %s", lockdown)
	}
	g.needImage(t)
	g.sh(t, "docker run --rm %s true", image)
}

// A part is a partition of a disk image, in bytes.
type part struct{ start, size int64 }

// partsOf reads the partition table of a disk image.
func partsOf(t *testing.T, disk string) map[int]part {
	t.Helper()
	qemutest.Need(t, "sfdisk")
	out, err := exec.Command("sfdisk", "--json", disk).Output()
	if err != nil {
		t.Fatalf("sfdisk %s: %v", disk, err)
	}
	var read struct {
		PartitionTable struct {
			SectorSize int64
			Partitions []struct{ Start, Size int64 }
		}
	}
	if err := json.Unmarshal(out, &read); err != nil {
		t.Fatal(err)
	}
	parts := make(map[int]part)
	for i, p := range read.PartitionTable.Partitions {
		parts[i+1] = part{p.Start * read.PartitionTable.SectorSize, p.Size * read.PartitionTable.SectorSize}
	}
	return parts
}

// checkPartition checks the file system in a partition of a disk image.
func checkPartition(t *testing.T, disk string, number int, kind string) {
	t.Helper()
	p, found := partsOf(t, disk)[number]
	if !found {
		t.Errorf("%s has no partition %d", disk, number)
		return
	}
	out, err := exec.Command("e2fsck", "-f", "-n", fmt.Sprintf("%s?offset=%d", disk, p.start)).CombinedOutput()
	if err != nil {
		t.Errorf("partition %d, %s: %v: %s", number, kind, err, out)
	}
}

// logWrites has the writes to a blank disk logged.
func logWrites(t *testing.T, disk qemutest.Disk) qemutest.Disk {
	t.Helper()
	disk.WriteLog = disk.Path + ".log"
	if err := qemutest.MakeDisk(disk.WriteLog, 16<<10); err != nil {
		t.Fatal(err)
	}
	if err := qemutest.CopyDisk(t.Context(), disk.Path+".base", disk.Path); err != nil {
		t.Fatal(err)
	}
	return disk
}

// checkInstallCuts looks at what power cuts during the installation would have
// left on the disk: nothing that any firmware or system takes for a table, or all
// of an installed system.
func checkInstallCuts(t *testing.T, disk qemutest.Disk) {
	qemutest.Need(t, "cp", "e2fsck", "sfdisk")
	log, err := qemutest.OpenWriteLog(disk.WriteLog, disk.Path+".base")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	n, err := log.Len()
	if err != nil {
		t.Fatal(err)
	}
	seed := uint64(time.Now().UnixNano())
	dice := rand.New(rand.NewPCG(seed, 0))
	whole := partSums(t, disk.Path)
	image := disk.Path + ".cut"
	empty, complete := 0, 0
	for i := range times(20, 100) {
		// The tables are among the last requests.
		at := n - i/2
		if i%2 == 1 {
			at = 1 + dice.IntN(n)
		}
		if err := log.Cut(t.Context(), image, at, dice); err != nil {
			t.Fatal(err)
		}
		if !hasTable(t, image) {
			empty++
			continue
		}
		complete++
		if diff := cmp.Diff(whole, partSums(t, image)); diff != "" {
			t.Errorf("cut after %d of %d requests (seed %d): a table, but (installed, left): %s", at, n, seed, diff)
		}
		for _, number := range []int{6, 7} {
			checkPartition(t, image, number, "ext4")
		}
	}
	if empty == 0 || complete == 0 {
		t.Errorf("%d cuts left an empty disk and %d a whole one: want some of each", empty, complete)
	}
	t.Logf("%d requests; %d cuts left an empty disk, %d a whole one", n, empty, complete)
}

// hasTable reports whether a disk image has a boot sector, or a partition table
// that a system takes for one: half of a table, at either end, is none.
func hasTable(t *testing.T, image string) bool {
	t.Helper()
	f, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sector := make([]byte, 512)
	if _, err := f.ReadAt(sector, 0); err != nil {
		t.Fatal(err)
	}
	if sector[510] == 0x55 && sector[511] == 0xaa {
		return true
	}
	var none *exec.ExitError
	err = exec.Command("sfdisk", "--json", image).Run()
	if err != nil && !errors.As(err, &none) {
		t.Fatal(err)
	}
	return err == nil
}

// partSums are digests of what a machine boots from: boot code, EFI partition,
// boot state and the first system.
func partSums(t *testing.T, image string) map[int]string {
	t.Helper()
	f, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	parts := partsOf(t, image)
	sums := make(map[int]string)
	for number := 1; number <= 4; number++ {
		sum := sha256.New()
		if _, err := io.Copy(sum, io.NewSectionReader(f, parts[number].start, parts[number].size)); err != nil {
			t.Fatal(err)
		}
		sums[number] = hex.EncodeToString(sum.Sum(nil))
	}
	return sums
}
