package blockdev

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Info is what a superblock says. Type is the name that mount(2) takes, or
// "swap", "crypto_LUKS", "linux_raid_member", "LVM2_member" for what cannot be
// mounted as it is; empty when nothing was recognised.
type Info struct {
	Type  string
	Label string
	// UUID is in the notation that blkid(8) and /dev/disk/by-uuid use.
	UUID string
}

// superblockArea is how much of a device Probe looks at: btrfs has the
// superblock that lies furthest in, at 64 KiB.
const superblockArea = 64<<10 + 4<<10

// Probe looks for a file system on a device. A device that holds none, or is
// too short for one, is not an error.
func Probe(r io.ReaderAt) (Info, error) {
	area := make([]byte, superblockArea)
	n, err := r.ReadAt(area, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return Info{}, err
	}
	// Zeros match no magic number, so a short device needs no care below.
	clear(area[n:])
	for _, f := range formats {
		if bytes.Equal(area[f.offset:f.offset+len(f.magic)], []byte(f.magic)) {
			return f.read(area), nil
		}
	}
	return Info{}, nil
}

// A format is recognised by its magic number.
type format struct {
	offset int
	magic  string
	read   func(area []byte) Info
}

// formats is in order of trust: a mkfs overwrites the superblocks that its own
// covers, not always all others. What stands first is what was made last.
// Offsets are those of libblkid's superblock probes.
var formats = []format{
	{0, "LUKS\xba\xbe", named("crypto_LUKS")},
	{4096, "\xfc\x4e\x2b\xa9", named("linux_raid_member")},
	{512 + 24, "LVM2 001", named("LVM2_member")},
	{1024 + 0x38, "\x53\xef", readExt},
	{0, "XFSB", readXFS},
	{btrfsAt + 0x40, "_BHRfS_M", readBtrfs},
	{isoAt + 1, "CD001", readISO9660},
	{4096 - 10, "SWAPSPACE2", readSwap},
	{0x52, "FAT32   ", readFAT(0x43)},
	{0x36, "FAT16   ", readFAT(0x27)},
	{0x36, "FAT12   ", readFAT(0x27)},
}

func named(kind string) func([]byte) Info {
	return func([]byte) Info { return Info{Type: kind} }
}

// readExt tells ext2, ext3 and ext4 apart; see the kernel's
// Documentation/filesystems/ext4/super.rst.
func readExt(area []byte) Info {
	sb := area[1024:]
	const (
		compatHasJournal = 0x4
		// What ext3 knows: filetype, recover, meta_bg; and sparse_super,
		// large_file, btree_dir. Any other feature means ext4.
		incompatExt3 = 0x2 | 0x4 | 0x10
		roCompatExt3 = 0x1 | 0x2 | 0x4
	)
	compat := binary.LittleEndian.Uint32(sb[0x5c:])
	incompat := binary.LittleEndian.Uint32(sb[0x60:])
	roCompat := binary.LittleEndian.Uint32(sb[0x64:])
	kind := "ext2"
	switch {
	case incompat&^uint32(incompatExt3) != 0 || roCompat&^uint32(roCompatExt3) != 0:
		kind = "ext4"
	case compat&compatHasJournal != 0:
		kind = "ext3"
	}
	return Info{Type: kind, UUID: uuid(sb[0x68:0x78]), Label: text(sb[0x78:0x88])}
}

func readXFS(sb []byte) Info {
	return Info{Type: "xfs", UUID: uuid(sb[32:48]), Label: text(sb[108:120])}
}

const btrfsAt = 64 << 10

func readBtrfs(area []byte) Info {
	sb := area[btrfsAt:]
	return Info{Type: "btrfs", UUID: uuid(sb[0x20:0x30]), Label: text(sb[0x12b : 0x12b+256])}
}

// isoAt is where the primary volume descriptor stands: sector 16.
const isoAt = 16 * 2048

func readISO9660(area []byte) Info {
	pvd := area[isoAt:]
	info := Info{Type: "iso9660", Label: text(pvd[40:72])}
	// Creation date YYYYMMDDhhmmsscc, or the modification date when set.
	for _, date := range [][]byte{pvd[830:846], pvd[813:829]} {
		if d := string(date); strings.Trim(d, "0\x00 ") != "" {
			info.UUID = strings.Join([]string{d[0:4], d[4:6], d[6:8], d[8:10], d[10:12], d[12:14], d[14:16]}, "-")
			break
		}
	}
	return info
}

func readSwap(area []byte) Info {
	return Info{Type: "swap", UUID: uuid(area[1024+12 : 1024+28]), Label: text(area[1024+28 : 1024+44])}
}

// readFAT reads serial number and label of a boot sector; the serial number
// stands at the given offset, the label after it.
func readFAT(serial int) func([]byte) Info {
	return func(sector []byte) Info {
		n := binary.LittleEndian.Uint32(sector[serial:])
		info := Info{Type: "vfat", UUID: fmt.Sprintf("%04X-%04X", n>>16, n&0xffff)}
		if label := text(sector[serial+4 : serial+15]); label != "NO NAME" {
			info.Label = label
		}
		return info
	}
}

func text(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return strings.TrimRight(string(b), " ")
}

func uuid(b []byte) string {
	h := hex.EncodeToString(b)
	return strings.Join([]string{h[0:8], h[8:12], h[12:16], h[16:20], h[20:32]}, "-")
}
