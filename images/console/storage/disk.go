package storage

import (
	"fmt"
	"strings"

	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

// Content is what is on a device. The zero value is nothing that is known.
type Content struct {
	// Type and Label are those of a file system, Table is a kind of partition
	// table ("gpt", "dos").
	Type, Label, Table string
}

func (c Content) String() string {
	switch {
	case c.Type != "" && c.Label != "":
		return fmt.Sprintf("%s %q", c.Type, c.Label)
	case c.Type != "":
		return c.Type
	case c.Table != "":
		return "a partition table (" + c.Table + ")"
	}
	return "nothing"
}

// parseContent reads what `blkid --probe --output export` prints.
func parseContent(text string) Content {
	var c Content
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch name {
		case "TYPE":
			c.Type = value
		case "LABEL":
			c.Label = value
		case "PTTYPE":
			c.Table = value
		}
	}
	return c
}

// tableName is the name that blkid and sfdisk have for a kind of table.
func tableName(t osconfig.TableType) string {
	if t == "gpt" {
		return "gpt"
	}
	return "dos"
}

// partitioned reports whether a disk is as the configuration wants it already.
func (d Disk) partitioned(have Content, partitions int) bool {
	want := len(d.Layout.Parts)
	if d.Layout.Whole {
		want = 1
	}
	if d.Layout.Remove {
		return have.Table == "" || partitions == 0
	}
	return have.Table == tableName(d.TableType) && partitions == want
}

// script is what sfdisk makes the partitions from. size is the disk's in bytes.
func (d Disk) script(size int64) string {
	var b strings.Builder
	fmt.Fprintf(&b, "label: %s\n", tableName(d.TableType))
	if d.Layout.Whole {
		b.WriteString("type=L\n")
		return b.String()
	}
	// One MiB in front and one behind belong to the table.
	usable := size>>20 - 2
	left := 100
	for _, p := range d.Layout.Parts {
		left -= p.Percent
	}
	for i, p := range d.Layout.Parts {
		if i < len(d.Layout.Parts)-1 || left > 0 {
			fmt.Fprintf(&b, "size=%dMiB, ", usable*int64(p.Percent)/100)
		}
		fmt.Fprintf(&b, "type=%s\n", partitionType(d.TableType, p.Type))
	}
	return b.String()
}

// partitionType translates the numbers of MBR and of sgdisk, which cloud-init
// takes for GPT, to sfdisk's letters.
func partitionType(table osconfig.TableType, t string) string {
	if table != "gpt" {
		if t == "" {
			return "83"
		}
		return t
	}
	switch strings.ToLower(t) {
	case "", "83", "8300":
		return "L"
	case "82", "8200":
		return "S"
	case "ef", "ef00":
		return "U"
	case "8e", "8e00":
		return "V"
	case "fd", "fd00":
		return "R"
	}
	return t
}

// makeFS is the command that makes a file system.
func makeFS(fs osconfig.FSSetup, device string) []string {
	kind, label := string(fs.Filesystem), fs.Label
	argv := []string{"/usr/sbin/mkfs." + kind}
	labelOption := "-L"
	switch kind {
	case "swap":
		argv[0] = "/usr/sbin/mkswap"
	case "vfat", "fat":
		argv[0], labelOption = "/usr/sbin/mkfs.vfat", "-n"
	case "xfs", "btrfs":
		argv = append(argv, "-f", "-q")
	default:
		argv = append(argv, "-F", "-q")
	}
	if label != "" {
		argv = append(argv, labelOption, label)
	}
	return append(append(argv, fs.ExtraOpts...), device)
}

// A verdict is what is to happen with a device.
type verdict int

const (
	leave  verdict = iota // it is as it should be
	build                 // make it
	refuse                // there is something else on it
)

// judgeFS decides about a device that needs a file system. One of the
// kind and with the label is it, whatever overwrite says: a machine must not
// lose its data at its next boot.
func judgeFS(fs osconfig.FSSetup, have Content) verdict {
	switch {
	case have.Type == string(fs.Filesystem) && (fs.Label == "" || have.Label == fs.Label):
		return leave
	case have == Content{}, fs.Overwrite, fs.ReplaceFS != "" && have.Type == string(fs.ReplaceFS):
		return build
	}
	return refuse
}

// judgeDisk decides about a disk that needs partitions.
func judgeDisk(d Disk, have Content, partitions int, blank bool) verdict {
	switch {
	case d.partitioned(have, partitions):
		return leave
	case have == Content{} && blank, d.Overwrite:
		return build
	}
	return refuse
}

// fsSize returns the size in bytes that a file system takes of its device, by
// its superblock; 0 when it is of a kind that does not grow.
func fsSize(area []byte) int64 {
	le := func(off, n int) (v int64) {
		for i := n - 1; i >= 0; i-- {
			v = v<<8 | int64(area[off+i])
		}
		return v
	}
	be := func(off, n int) (v int64) {
		for i := range n {
			v = v<<8 | int64(area[off+i])
		}
		return v
	}
	const ext, btrfs = 1024, 64 << 10
	switch {
	case string(area[:4]) == "XFSB":
		return be(8, 8) * be(4, 4)
	case string(area[btrfs+0x40:btrfs+0x48]) == "_BHRfS_M":
		return le(btrfs+0x70, 8)
	case area[ext+0x38] == 0x53 && area[ext+0x39] == 0xef:
		blocks := le(ext+4, 4)
		if le(ext+0x60, 4)&0x80 != 0 { // 64bit
			blocks |= le(ext+0x150, 4) << 32
		}
		return blocks << (10 + le(ext+0x18, 4))
	}
	return 0
}

// fsSizeArea is how much of a device fsSize wants.
const fsSizeArea = 64<<10 + 4096
