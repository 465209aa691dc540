package blockdev

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-os/bulkhead/internal/gpt"
)

// TestProbeReal probes what the real mkfs programs make; each case needs its
// program on the machine that runs the tests.
func TestProbeReal(t *testing.T) {
	const id = "0a1b2c3d-1111-4222-8333-444455556666"
	tests := []struct {
		name string
		size int64
		cmd  []string
		want Info
	}{
		{"ext4", 16 << 20, []string{"mkfs.ext4", "-q", "-F", "-L", "RANCHER_STATE", "-U", id}, Info{"ext4", "RANCHER_STATE", id}},
		{"ext3", 16 << 20, []string{"mkfs.ext3", "-q", "-F", "-U", id}, Info{"ext3", "", id}},
		{"ext2", 16 << 20, []string{"mkfs.ext2", "-q", "-F", "-L", "sixteen-chars-ok", "-U", id}, Info{"ext2", "sixteen-chars-ok", id}},
		{"xfs", 320 << 20, []string{"mkfs.xfs", "-q", "-f", "-L", "twelve-chars", "-m", "uuid=" + id}, Info{"xfs", "twelve-chars", id}},
		{"btrfs", 128 << 20, []string{"mkfs.btrfs", "-q", "-f", "-L", "my data", "-U", id}, Info{"btrfs", "my data", id}},
		{"fat32", 64 << 20, []string{"mkfs.vfat", "-F", "32", "-n", "config-2", "-i", "0A1B2C3D"}, Info{"vfat", "config-2", "0A1B-2C3D"}},
		{"fat16", 16 << 20, []string{"mkfs.vfat", "-F", "16", "-i", "0A1B2C3D"}, Info{"vfat", "", "0A1B-2C3D"}},
		{"swap", 16 << 20, []string{"mkswap", "-L", "sw", "-U", id}, Info{"swap", "sw", id}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "image")
			makeFile(t, path, nil)
			if err := os.Truncate(path, tt.size); err != nil {
				t.Fatal(err)
			}
			program, err := exec.LookPath(tt.cmd[0])
			if err != nil {
				t.Skip(err)
			}
			if out, err := exec.CommandContext(t.Context(), program, append(tt.cmd[1:], path)...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %v: %s", tt.cmd, err, out)
			}
			got, err := probeFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// image makes a device content from pieces at offsets.
func image(size int, pieces map[int]string) []byte {
	b := make([]byte, size)
	for off, s := range pieces {
		copy(b[off:], s)
	}
	return b
}

func TestProbe(t *testing.T) {
	iso := map[int]string{isoAt: "\x01CD001\x01", isoAt + 40: "BULKHEAD                        ", isoAt + 830: "2026112410203000"}
	tests := []struct {
		name    string
		content []byte
		want    Info
	}{
		{"empty file", nil, Info{}},
		{"zeros", image(1<<20, nil), Info{}},
		{"short", image(2048, map[int]string{0x36: "FAT12   ", 0x27: "\x01\x02\x03\x04BOOT       "}), Info{"vfat", "BOOT", "0403-0201"}},
		{"iso", image(1<<20, iso), Info{"iso9660", "BULKHEAD", "2026-11-24-10-20-30-00"}},
		{"luks", image(1<<20, map[int]string{0: "LUKS\xba\xbe"}), Info{Type: "crypto_LUKS"}},
		{"ext over iso", func() []byte {
			b := image(1<<20, iso)
			copy(b[1024+0x38:], "\x53\xef")
			copy(b[1024+0x78:], "STATE")
			return b
		}(), Info{"ext2", "STATE", "00000000-0000-0000-0000-000000000000"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Probe(bytes.NewReader(tt.content))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func FuzzProbe(f *testing.F) {
	for _, format := range formats {
		b := make([]byte, superblockArea)
		copy(b[format.offset:], format.magic)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		if _, err := Probe(bytes.NewReader(content)); err != nil {
			t.Error(err)
		}
	})
}

func TestList(t *testing.T) {
	root := t.TempDir()
	sys := map[string]string{
		"devices/pci/block/sda/size":                     "4096",
		"devices/pci/block/sda/ro":                       "0",
		"devices/pci/block/sda/sda1/size":                "2048",
		"devices/pci/block/sda/sda1/partition":           "1",
		"devices/pci/block/sda/sda1/uevent":              "MAJOR=8\nDEVNAME=sda1\nPARTNAME=my state\n",
		"devices/pci/block/sda/sda10/size":               "2048",
		"devices/pci/block/sda/sda10/partition":          "10",
		"devices/pci/block/sdb/size":                     "8192",
		"devices/pci/block/sdb/queue/logical_block_size": "4096",
		"devices/pci/block/sdb/sdb2/size":                "2048",
		"devices/pci/block/sdb/sdb2/partition":           "2",
		"devices/pci/block/sr0/size":                     "2097151",
		"devices/pci/block/sr0/ro":                       "1",
		"devices/pci/block/sdaa/size":                    "8",
		"devices/virtual/block/loop0/size":               "0",
		"devices/virtual/block/ram0/size":                "8192",
	}
	for name, content := range sys {
		makeFile(t, filepath.Join(root, "sys", name), []byte(content+"\n"))
	}
	for _, name := range []string{"pci/block/sda", "pci/block/sda/sda1", "pci/block/sda/sda10", "pci/block/sdb", "pci/block/sdb/sdb2", "pci/block/sr0", "pci/block/sdaa", "virtual/block/loop0", "virtual/block/ram0"} {
		link := filepath.Join(root, "sys/class/block", filepath.Base(name))
		if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("../../devices/"+name, link); err != nil {
			t.Fatal(err)
		}
	}
	// No node for sr0: an empty drive.
	for _, name := range []string{"sda", "sda10", "sdb2", "sdaa", "loop0", "ram0"} {
		makeFile(t, filepath.Join(root, "dev", name), nil)
	}
	makeFile(t, filepath.Join(root, "dev/sda1"), image(1<<17, map[int]string{0: "XFSB", 108: "RANCHER_STATE"}))
	table := gpt.Table{SectorSize: 4096, Sectors: 1024, Partitions: []gpt.Partition{{}, {Type: gpt.GUID{1}, ID: gpt.GUID{4, 3, 2, 1}, Start: 256, Sectors: 256, Name: "second"}}}
	e, err := table.Encode()
	if err != nil {
		t.Fatal(err)
	}
	makeFile(t, filepath.Join(root, "dev/sdb"), append(append(e.MBR, e.Primary...), make([]byte, 4<<20-len(e.MBR)-len(e.Primary))...))
	got, err := List(root)
	if err != nil {
		t.Fatal(err)
	}
	want := []Device{
		{Name: "sda1", Path: "/dev/sda1", Size: 1 << 20, Disk: "sda", PartNumber: 1, PartName: "my state", Sector: 512, Info: Info{"xfs", "RANCHER_STAT", "00000000-0000-0000-0000-000000000000"}},
		{Name: "sda10", Path: "/dev/sda10", Size: 1 << 20, Disk: "sda", PartNumber: 10, Sector: 512},
		{Name: "sda", Path: "/dev/sda", Size: 2 << 20, Sector: 512},
		{Name: "sdb2", Path: "/dev/sdb2", Size: 1 << 20, Disk: "sdb", PartNumber: 2, PartName: "second", PartUUID: "01020304-0000-0000-0000-000000000000", Sector: 4096},
		{Name: "sdb", Path: "/dev/sdb", Size: 4 << 20, Sector: 4096},
		{Name: "sdaa", Path: "/dev/sdaa", Size: 4096, Sector: 512},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestMatch(t *testing.T) {
	root := t.TempDir()
	devices := []Device{
		{Path: "/dev/sda1", PartName: "state", Info: Info{"ext4", "RANCHER_STATE", "0a1b-2c3d"}},
		{Path: "/dev/sda", Info: Info{}},
		{Path: "/dev/sdb", Info: Info{"ext4", "RANCHER_STATE", "ffff"}},
	}
	makeFile(t, filepath.Join(root, "dev/sdb"), nil)
	if err := os.MkdirAll(filepath.Join(root, "dev/disk/by-id"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../../sdb", filepath.Join(root, "dev/disk/by-id/wwn-1")); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		spec, want, wantErr string
	}{
		{spec: "LABEL=RANCHER_STATE", want: "/dev/sda1 /dev/sdb"},
		{spec: "UUID=0A1B-2C3D", want: "/dev/sda1"},
		{spec: "PARTLABEL=state", want: "/dev/sda1"},
		{spec: "/dev/sdb", want: "/dev/sdb"},
		{spec: "/dev/disk/by-id/wwn-1", want: "/dev/sdb"},
		{spec: "/dev/vda"},
		{spec: "LABEL=", wantErr: "nothing after"},
		{spec: "sda", wantErr: "want LABEL="},
		{spec: "SERIAL=1", wantErr: "want LABEL="},
	}
	for _, tt := range tests {
		t.Run(tt.spec, func(t *testing.T) {
			found, err := Match(devices, tt.spec, root)
			if (err != nil) != (tt.wantErr != "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
				t.Fatalf("error %v; want %q", err, tt.wantErr)
			}
			var paths []string
			for _, d := range found {
				paths = append(paths, d.Path)
			}
			if got := strings.Join(paths, " "); got != tt.want {
				t.Errorf("Match(%s) = %s; want %s", tt.spec, got, tt.want)
			}
		})
	}
}

func TestCheckBlank(t *testing.T) {
	tests := []struct {
		name    string
		content []byte
		want    string
	}{
		{"zeros", make([]byte, 2<<20), ""},
		{"data after the first mebibyte", image(2<<20, map[int]string{1 << 20: "x"}), ""},
		{"exactly one mebibyte", make([]byte, 1<<20), ""},
		{"last byte", image(2<<20, map[int]string{1<<20 - 1: "x"}), "is not empty: byte 1048575 is not zero (a partition table or data)"},
		{"partition table", image(2<<20, map[int]string{510: "\x55\xaa"}), "is not empty: byte 510 is not zero (a partition table or data)"},
		{"file system", image(2<<20, map[int]string{0: "XFSB", 108: "data"}), `holds xfs "data"`},
		{"short", make([]byte, 1<<19), "is shorter than 1048576 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if err := CheckBlank(bytes.NewReader(tt.content), 1<<20); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("CheckBlank() = %q; want %q", got, tt.want)
			}
		})
	}
}

func makeFile(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}
