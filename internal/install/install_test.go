package install

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/bulkhead-os/bulkhead/internal/bootstate"
	"github.com/bulkhead-os/bulkhead/internal/disklayout"
	"github.com/bulkhead-os/bulkhead/internal/gpt"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/loop/looptest"
	"github.com/bulkhead-os/bulkhead/internal/partition"
	"github.com/bulkhead-os/bulkhead/internal/release"
	"github.com/bulkhead-os/bulkhead/internal/slots"
	"github.com/bulkhead-os/bulkhead/internal/work"
)

func TestRefusal(t *testing.T) {
	good := func(change func(*Disk)) Disk {
		d := Disk{Path: "/dev/sda", Size: 8 << 30, Sector: 512}
		change(&d)
		return d
	}
	for _, c := range []struct {
		name string
		disk Disk
		want string
	}{
		{"blank", good(func(*Disk) {}), ""},
		{"with content", good(func(d *Disk) { d.Content = []Content{{Device: "/dev/sda1"}} }), ""},
		{"partition", good(func(d *Disk) { d.Partition = true }), "is a partition"},
		{"medium", good(func(d *Disk) { d.Medium, d.Uses = true, []string{"/dev/sda on /bulkhead/medium"} }), "is what this system runs from"},
		{"write-protected", good(func(d *Disk) { d.ReadOnly = true }), "write-protected"},
		{"state", good(func(d *Disk) { d.Uses = []string{"/dev/sda1 on /state"} }), "rancher.state.dev="},
		{"mounted", good(func(d *Disk) { d.Uses = []string{"/dev/sda1 on /mnt"} }), "/dev/sda1 on /mnt; unmount it first"},
		{"small", good(func(d *Disk) { d.Size = 2 << 30 }), "too few"},
		{"sectors", good(func(d *Disk) { d.Sector = 520 }), "520"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.disk.Refusal()
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("refusal %v; want %q", err, c.want)
			}
		})
	}
}

func TestJudge(t *testing.T) {
	wish := Wish{Device: "/dev/sda"}
	blank := Disk{Path: "/dev/sda", Size: 8 << 30, Sector: 512, Serial: "S1"}
	full := blank
	full.Content, full.GUID = []Content{{Device: "/dev/sda1", Type: "ext4", Label: "data"}}, "ab-cd"
	ours := full
	ours.Installed, ours.Uses = wish.ID(), []string{"/dev/sda6 on /state"}
	for _, c := range []struct {
		name  string
		disk  Disk
		force string
		done  bool
		err   string
	}{
		{name: "blank", disk: blank},
		{name: "not empty", disk: full, err: `(/dev/sda1: ext4 "data"); to overwrite it, set rancher.install.force to S1`},
		{name: "another disk is named", disk: full, force: "S2", err: "not empty"},
		{name: "named by serial", disk: full, force: "S1"},
		{name: "named by GUID", disk: full, force: "AB-CD"},
		{name: "has it", disk: ours, done: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			// The ID must not depend on it here.
			w := Wish{Device: wish.Device, Force: c.force, Given: wish.ID()}
			done, err := w.Judge(c.disk)
			if done != c.done || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("done %v, error %v; want %v, %q", done, err, c.done, c.err)
			}
		})
	}
}

func TestOnly(t *testing.T) {
	disk := func(path string, size int64) Disk { return Disk{Path: path, Size: size, Sector: 512} }
	for _, c := range []struct {
		name, want, err string
		disks           []Disk
	}{
		{name: "one", disks: []Disk{disk("/dev/sda", 8<<30), disk("/dev/sdb", 1<<20)}, want: "/dev/sda"},
		{name: "two", disks: []Disk{disk("/dev/sda", 8<<30), disk("/dev/sdb", 8<<30)}, err: "more than one disk"},
		{name: "none", disks: []Disk{disk("/dev/sdb", 1<<20)}, err: "/dev/sdb: 1 MiB are too few"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := Only(c.disks)
			if d.Path != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("%q, %v; want %q, %q", d.Path, err, c.want, c.err)
			}
		})
	}
}

func TestUnitSerial(t *testing.T) {
	for page, want := range map[string]string{"\x00\x80\x00\x06 ab12 ": "ab12", "\x00\x80\x00\x10cut": "cut", "": "", "\x00\x80": ""} {
		if got := unitSerial([]byte(page)); got != want {
			t.Errorf("%q: %q; want %q", page, got, want)
		}
	}
}

func TestBootCode(t *testing.T) {
	sector := bytes.Repeat([]byte{1}, 512)
	core := bytes.Repeat([]byte{2}, 5*512+7)
	code, patched, err := bootCode(sector, core, 2048)
	if err != nil {
		t.Fatal(err)
	}
	if len(code) != 440 || binary.LittleEndian.Uint64(code[0x5c:]) != 2048 || code[0x66] != 0x90 || code[0x67] != 0x90 {
		t.Errorf("boot sector: % x", code)
	}
	list := patched[0x1f4:]
	if len(patched) != 6*512 || binary.LittleEndian.Uint64(list) != 2049 || binary.LittleEndian.Uint16(list[8:]) != 5 || binary.LittleEndian.Uint16(list[10:]) != 0x820 {
		t.Errorf("block list: % x, %d bytes", list[:12], len(patched))
	}
	if _, _, err := bootCode(sector[:100], core, 1); err == nil {
		t.Error("no error about half a boot sector")
	}
}

// source makes a medium with a system that does not run.
func source(t *testing.T) Source {
	dir := t.TempDir()
	s := Source{Medium: filepath.Join(dir, "medium"), Loader: filepath.Join(dir, "loader")}
	write := func(name string, size int) {
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(i>>8) + byte(i)
		}
		if err := partition.WriteFile(name, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for i, name := range release.Needed() {
		write(filepath.Join(s.Medium, name), 3<<20+i)
	}
	manifest, err := release.Manifest{Version: "v1"}.Describe(func(name string) string { return filepath.Join(s.Medium, name) })
	if err != nil {
		t.Fatal(err)
	}
	text, err := manifest.Encode()
	if err == nil {
		err = partition.WriteFile(filepath.Join(s.Medium, layout.ReleaseFile), text, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"BOOTX64.EFI", "grubx64.efi", "mmx64.efi", layout.LoaderMenu} {
		write(filepath.Join(s.Loader, name), 10000)
	}
	write(filepath.Join(s.Loader, layout.LoaderBootSector), 512)
	write(filepath.Join(s.Loader, layout.LoaderCore), 100000)
	write(filepath.Join(s.Loader, layout.LoaderBootState), 1<<20)
	return s
}

// newPlan makes a plan. Not every kernel that tests run on has fs-verity and FAT;
// a machine that is installed in e2e has.
func newPlan(t *testing.T, o Options, s Source) *Plan {
	plan, err := New(o, s)
	if err != nil {
		t.Fatal(err)
	}
	plan.seal = func(file, digest string) error {
		if err := slots.SealFile(file, digest); !errors.Is(err, unix.EOPNOTSUPP) {
			return err
		}
		return nil
	}
	if exec.Command("grep", "-qw", "vfat", "/proc/filesystems").Run() != nil && exec.Command("modprobe", "vfat").Run() != nil {
		plan.esp = fileSystem{"ext4", []string{"/usr/sbin/mkfs.ext4", "-q", "-F"}}
	}
	return plan
}

// loop makes a disk with sectors of a size, in bytes.
func loop(t *testing.T, sector string) string {
	t.Helper()
	return looptest.Disk(t, "something of before", 3<<30, "--partscan", "--sector-size", sector)
}

// TestIntegrationInstall installs to a loop device of this machine.
func TestIntegrationInstall(t *testing.T) {
	for _, sector := range []string{"512", "4096"} {
		t.Run(sector, func(t *testing.T) {
			disk, err := Machine{Root: "/"}.Look(loop(t, sector))
			if err != nil {
				t.Fatal(err)
			}
			s := source(t)
			config := []File{{Path: layout.CloudConfig, Data: []byte("#cloud-config\n")}}
			plan := newPlan(t, Options{Disk: disk, Config: config, Args: "one two", ID: "first", Dir: t.TempDir()}, s)
			// What a cut at any step leaves.
			var atStep []string
			result, err := plan.Run(t.Context(), func(p work.Progress) {
				if p.Done == 0 {
					d, err := Machine{Root: "/"}.Look(disk.Path)
					if err != nil || d.GUID != "" || p.Step > 1 && firstByte(t, disk.Path) != 0 {
						atStep = append(atStep, p.Name)
					}
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			if len(atStep) > 0 {
				t.Errorf("the disk is not empty at the steps %v", atStep)
			}
			got, err := Machine{Root: "/"}.Look(disk.Path)
			if err != nil {
				t.Fatal(err)
			}
			if got.GUID != result.GUID || got.Installed != "first" || len(got.Content) != 7 {
				t.Errorf("afterwards: %+v", got)
			}
			checkInstalled(t, plan, s)
		})
	}
}

func firstByte(t *testing.T, disk string) byte {
	f, err := os.Open(disk)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return b[0]
}

func checkInstalled(t *testing.T, plan *Plan, s Source) {
	r := &run{Plan: plan}
	for device, kind := range map[string]string{r.device(disklayout.State): "ext4", r.device(disklayout.Data): "ext4", r.device(disklayout.SlotA): "ext4", r.device(disklayout.ESP): plan.esp.kind} {
		if out, err := exec.Command("fsck."+kind, "-n", device).CombinedOutput(); err != nil {
			t.Errorf("fsck.%s %s: %v: %s", kind, device, err, out)
		}
	}
	same := func(role disklayout.Role, kind string, files map[string]string) {
		err := r.mounted(r.device(role), kind, 1 /* MS_RDONLY */, func(dir string) error {
			for name, from := range files {
				a, errA := os.ReadFile(filepath.Join(dir, name))
				b, errB := os.ReadFile(from)
				if err := errors.Join(errA, errB); err != nil {
					return err
				}
				if sha256.Sum256(a) != sha256.Sum256(b) {
					t.Errorf("%s differs from %s", name, from)
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	slot := map[string]string{layout.ReleaseFile: filepath.Join(s.Medium, layout.ReleaseFile)}
	for _, name := range release.Needed() {
		slot[name] = filepath.Join(s.Medium, name)
	}
	same(disklayout.SlotA, "ext4", slot)
	same(disklayout.ESP, plan.esp.kind, map[string]string{"EFI/BOOT/BOOTX64.EFI": filepath.Join(s.Loader, "BOOTX64.EFI"), "boot/grub/grub.cfg": filepath.Join(s.Loader, layout.LoaderMenu)})

	f, err := os.Open(plan.Disk.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	table, err := gpt.Read(f, plan.Disk.Size, plan.Disk.Sector)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(plan.Table, table); diff != "" {
		t.Error(diff)
	}
	block := make([]byte, bootstate.Unit)
	if _, err := f.ReadAt(block, r.part(disklayout.BootState).Start+bootstate.OS1Offset); err != nil {
		t.Fatal(err)
	}
	state, err := bootstate.ParseState(block)
	if err != nil || state.Good != bootstate.A || state.Args != "one two" {
		t.Errorf("boot state %+v, %v", state, err)
	}
}

// TestIntegrationFailure: what fails leaves an empty disk.
func TestIntegrationFailure(t *testing.T) {
	disk, err := Machine{Root: "/"}.Look(loop(t, "512"))
	if err != nil {
		t.Fatal(err)
	}
	s := source(t)
	plan := newPlan(t, Options{Disk: disk, ID: "x", Dir: t.TempDir()}, s)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err = plan.Run(ctx, func(p work.Progress) {
		if p.Name == "boot code" {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "boot code") {
		t.Errorf("error %v", err)
	}
	f, err := os.Open(disk.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := gpt.Read(f, disk.Size, 512); !errors.Is(err, gpt.ErrNone) {
		t.Errorf("a partition table is left: %v", err)
	}
}

// TestIntegrationInUse: a disk with a mounted file system is refused.
func TestIntegrationInUse(t *testing.T) {
	device := loop(t, "512")
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", "-L", "precious", device).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	dir := t.TempDir()
	if out, err := exec.Command("mount", device, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	defer exec.Command("umount", dir).Run()
	disk, err := Machine{Root: "/"}.Look(device)
	if err != nil {
		t.Fatal(err)
	}
	disk.Uses = nil // as if it were mounted where nobody sees it
	plan := newPlan(t, Options{Disk: disk, ID: "x", Dir: t.TempDir()}, source(t))
	if _, err := plan.Run(t.Context(), func(work.Progress) {}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("error %v", err)
	}
	after, err := Machine{Root: "/"}.Look(device)
	if err != nil || len(after.Content) != 1 || after.Content[0].Label != "precious" {
		t.Errorf("afterwards: %+v, %v", after, err)
	}
}
