package storage

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

func load(t *testing.T, text string) osconfig.Config {
	t.Helper()
	cfg := osconfig.Defaults()
	if problems := cfg.Merge("test", []byte(text)); len(problems) > 0 {
		t.Fatal(problems)
	}
	return cfg
}

func TestMounts(t *testing.T) {
	tests := []struct {
		entry  string
		argv   string // empty: nothing is mounted
		remote bool
		device bool
	}{
		{"[LABEL=data, /mnt/data, ext4, noatime]", "mount -t ext4 -o noatime -- LABEL=data /mnt/data", false, true},
		{"[vdb1, /mnt/data]", "mount -o defaults,nofail -- /dev/vdb1 /mnt/data", false, true},
		{"[/dev/vdb, '', swap, '']", "swapon /dev/vdb", false, true},
		{"[UUID=1-2, none, swap, 'sw,pri=5']", "swapon --options pri=5 UUID=1-2", false, true},
		{"[tmpfs, /mnt/ram, tmpfs, size=8m]", "mount -t tmpfs -o size=8m -- tmpfs /mnt/ram", false, false},
		{"[/home/a, /home/b, '', bind]", "mount -o bind -- /home/a /home/b", false, false},
		{"[/home/a, /home/b, bind, rw]", "mount -t none -o rw,bind -- /home/a /home/b", false, false},
		{"[10.0.0.1:/export, /mnt/nfs, nfs4, ro]", "mount -t nfs4 -o ro -- 10.0.0.1:/export /mnt/nfs", true, false},
		{"[//nas/share, /mnt/smb, cifs, guest]", "mount -t cifs -o guest -- //nas/share /mnt/smb", true, false},
		{"[/dev/sdb, /mnt/b, auto, 'defaults,noauto']", "", false, false},
		{"[/dev/sdb]", "", false, false},
	}
	for _, tt := range tests {
		p := MakePlan(load(t, "mounts: ["+tt.entry+"]"))
		if tt.argv == "" {
			if len(p.Local)+len(p.Remote) > 0 {
				t.Errorf("%s: %v, %v; want no mount", tt.entry, p.Local, p.Remote)
			}
			continue
		}
		list := append(p.Local, p.Remote...)
		if len(list) != 1 {
			t.Fatalf("%s: %v", tt.entry, list)
		}
		argv := strings.Join(list[0].argv(), " ")
		argv = argv[strings.LastIndex(argv[:strings.Index(argv, " ")], "/")+1:]
		if argv != tt.argv || (len(p.Remote) > 0) != tt.remote || list[0].onDevice() != tt.device {
			t.Errorf("%s: %s, remote %v, device %v; want %s, %v, %v", tt.entry, argv, len(p.Remote) > 0, list[0].onDevice(), tt.argv, tt.remote, tt.device)
		}
	}
}

func TestMountsTakenBackAndElsewhere(t *testing.T) {
	p := MakePlan(load(t, "mounts: [[vdb, /mnt/a], [/dev/vdb], [vdc, /exports]]"))
	if len(p.Local) != 1 || p.Local[0].Device != "/dev/vdc" || len(p.Problems) != 1 {
		t.Errorf("mounts %v, problems %q; want /dev/vdc alone, and a problem with /exports", p.Local, p.Problems)
	}
}

func TestNeeds(t *testing.T) {
	list := MakePlan(load(t, "mounts: [[vdb, /mnt/a], [/mnt/a, /home/b, none, bind], [vdc, /mnt/a/c], [vdd, /mnt/ab], [vde, none, swap]]")).Local
	for i, want := range []bool{true, true, false, false} {
		if got := list[i+1].needs(list[0]); got != want {
			t.Errorf("%v needs %v: %v; want %v", list[i+1], list[0], got, want)
		}
	}
}

func TestGrowing(t *testing.T) {
	for config, want := range map[string][]string{
		"{}":                                  {StateDir},
		"growpart: {mode: off}":               nil,
		"resize_rootfs: false":                nil,
		"growpart: {devices: [/, /mnt/data]}": {StateDir, "/mnt/data"},
		"{growpart: {mode: off}, rancher: {resize_device: sda}}": {"/dev/sda"},
	} {
		if diff := cmp.Diff(want, MakePlan(load(t, config)).Grow); diff != "" {
			t.Errorf("%s (-want +got):\n%s", config, diff)
		}
	}
}

func TestSwapFile(t *testing.T) {
	tests := []struct {
		config string
		path   string
		bytes  int64 // with 2 GiB of memory and 4 GiB free
	}{
		{"{size: 512M}", "/var/lib/rancher/swap.img", 512 << 20},
		{"{filename: /home/swap, size: auto}", "/home/swap", 1 << 30},
		{"{size: auto, maxsize: 256M}", "/var/lib/rancher/swap.img", 256 << 20},
	}
	for _, tt := range tests {
		s := MakePlan(load(t, "swap: "+tt.config)).Swap
		if s == nil {
			t.Fatalf("%s: no swap file", tt.config)
		}
		if got := s.bytes(2<<30, 4<<30); s.Path != tt.path || got != tt.bytes {
			t.Errorf("%s: %s with %d bytes; want %s with %d", tt.config, s.Path, got, tt.path, tt.bytes)
		}
	}
	if s := MakePlan(load(t, "{}")).Swap; s != nil {
		t.Errorf("swap file %v without a word about it", s)
	}
}

func TestDisk(t *testing.T) {
	const gib = 1 << 30
	tests := []struct {
		name, config string
		have         Content
		partitions   int
		blank        bool
		want         verdict
		script       string
	}{
		{name: "whole disk", config: "{layout: true}", blank: true, want: build, script: "label: dos\ntype=L\n"},
		{name: "parts", config: "{table_type: gpt, layout: [50, [25, 82]]}", blank: true, want: build,
			script: "label: gpt\nsize=511MiB, type=L\nsize=255MiB, type=S\n"},
		{name: "all of it", config: "{layout: [33, [33, 82], 34]}", blank: true, want: build,
			script: "label: dos\nsize=337MiB, type=83\nsize=337MiB, type=82\ntype=83\n"},
		{name: "as it should be", config: "{table_type: gpt, layout: [50, 50], overwrite: true}", have: Content{Table: "gpt"}, partitions: 2, want: leave},
		{name: "a file system", config: "{layout: true}", have: Content{Type: "ext4"}, want: refuse},
		{name: "unknown data", config: "{layout: true}", want: refuse},
		{name: "overwrite", config: "{layout: true, overwrite: true}", have: Content{Table: "gpt"}, partitions: 3, want: build},
		{name: "remove", config: "{layout: remove}", have: Content{Table: "gpt"}, partitions: 3, want: refuse},
		{name: "nothing to remove", config: "{layout: remove, overwrite: true}", want: leave},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := MakePlan(load(t, "disk_setup: {vdb: "+tt.config+"}")).Disks[0]
			if got := judgeDisk(d, tt.have, tt.partitions, tt.blank); got != tt.want || d.Device != "/dev/vdb" {
				t.Errorf("verdict %v about %s; want %v", got, d.Device, tt.want)
			}
			if got := d.script(gib); tt.script != "" && got != tt.script {
				t.Errorf("script = %q; want %q", got, tt.script)
			}
		})
	}
}

func TestFileSystem(t *testing.T) {
	tests := []struct {
		config string
		have   Content
		want   verdict
		argv   string
	}{
		{"label: data", Content{}, build, "mkfs.ext4 -F -q -L data /dev/vdb"},
		{"filesystem: xfs", Content{Table: "gpt"}, refuse, "mkfs.xfs -f -q /dev/vdb"},
		{"filesystem: vfat, label: EFI, extra_opts: -F 32", Content{}, build, "mkfs.vfat -n EFI -F 32 /dev/vdb"},
		{"filesystem: swap", Content{Type: "swap"}, leave, "mkswap /dev/vdb"},
		{"label: data", Content{Type: "ext4", Label: "other"}, refuse, ""},
		{"overwrite: true", Content{Type: "xfs"}, build, ""},
		{"overwrite: true, label: a", Content{Type: "ext4", Label: "a"}, leave, ""},
		{"replace_fs: ntfs", Content{Type: "ntfs"}, build, ""},
	}
	for _, tt := range tests {
		fs := MakePlan(load(t, "fs_setup: [{device: vdb, "+tt.config+"}]")).FileSystems[0]
		if got := judgeFS(fs, tt.have); got != tt.want {
			t.Errorf("%s on %v: verdict %v; want %v", tt.config, tt.have, got, tt.want)
		}
		if got := strings.Join(makeFS(fs, "/dev/vdb"), " "); tt.argv != "" && got != "/usr/sbin/"+tt.argv {
			t.Errorf("%s: %s; want %s", tt.config, got, tt.argv)
		}
	}
}

func TestParse(t *testing.T) {
	got := parseContent("DEVNAME=/dev/vdb\nLABEL=data one\nUUID=1\nTYPE=ext4\nUSAGE=filesystem\n")
	if want := (Content{Type: "ext4", Label: "data one"}); got != want {
		t.Errorf("parseContent = %+v; want %+v", got, want)
	}
}

func TestMountTable(t *testing.T) {
	mounts, err := mountinfo.GetMountsFromReader(strings.NewReader("22 1 0:20 / / rw - overlay overlay rw\n"+
		"29 22 254:1 / /mnt/a\\040b rw - tmpfs tmpfs rw\n"+
		"30 22 254:1 / /mnt/a\\040b rw,shared:1 master:2 - ext4 /dev/vda1 rw\n"+
		"31 22 254:1 / /mnt/c rw - ext4 /dev/vda1 rw\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	table := mountTable(mounts)
	if at, of := table.at("/mnt/a b"), table.of("/dev/vda1"); at != table[2] || at.FSType != "ext4" || at.Source != "/dev/vda1" || of != table[2] {
		t.Errorf("at: %+v; of: %+v; want the third mount", at, of)
	}
	if at, of := table.at("/mnt/d"), table.of("/dev/vdb"); at != nil || of != nil {
		t.Errorf("at: %+v; of: %+v; want none", at, of)
	}
}

func TestFSSize(t *testing.T) {
	area := func(set func([]byte)) []byte { b := make([]byte, fsSizeArea); set(b); return b }
	tests := []struct {
		name string
		area []byte
		want int64
	}{
		{"nothing", area(func([]byte) {}), 0},
		{"ext4", area(func(b []byte) {
			binary.LittleEndian.PutUint16(b[1024+0x38:], 0xef53)
			binary.LittleEndian.PutUint32(b[1024+4:], 1000)
			binary.LittleEndian.PutUint32(b[1024+0x18:], 2)
			binary.LittleEndian.PutUint32(b[1024+0x60:], 0x80)
			binary.LittleEndian.PutUint32(b[1024+0x150:], 1)
		}), (1<<32 + 1000) * 4096},
		{"xfs", area(func(b []byte) {
			copy(b, "XFSB")
			binary.BigEndian.PutUint32(b[4:], 4096)
			binary.BigEndian.PutUint64(b[8:], 500)
		}), 500 * 4096},
		{"btrfs", area(func(b []byte) {
			copy(b[64<<10+0x40:], "_BHRfS_M")
			binary.LittleEndian.PutUint64(b[64<<10+0x70:], 12345)
		}), 12345},
	}
	for _, tt := range tests {
		if got := fsSize(tt.area); got != tt.want {
			t.Errorf("%s: %d; want %d", tt.name, got, tt.want)
		}
	}
}

// While a disk is locked udev, which asks for a shared lock, does not get it.
func TestDiskLocks(t *testing.T) {
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(disk, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	udev, err := os.Open(disk)
	if err != nil {
		t.Fatal(err)
	}
	defer udev.Close()
	ask := func() error { return unix.Flock(int(udev.Fd()), unix.LOCK_SH|unix.LOCK_NB) }

	if err := ask(); err != nil {
		t.Fatal(err)
	}
	var locks diskLocks
	if err := locks.take(t.Context(), time.Now(), disk); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("lock of a disk that udev has: %v; want %v", err, unix.EWOULDBLOCK)
	}
	if err := unix.Flock(int(udev.Fd()), unix.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	if err := locks.take(t.Context(), time.Now(), disk); err != nil {
		t.Fatal(err)
	}
	if err := ask(); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("udev gets a locked disk: %v", err)
	}
	locks.release()
	if err := ask(); err != nil {
		t.Errorf("after the release: %v", err)
	}
}
