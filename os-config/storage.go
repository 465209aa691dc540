package osconfig

import (
	"cmp"
	"fmt"
	"reflect"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// MountFields are the fields of a line of fstab(5). Empty means not given.
type MountFields struct {
	Device  string
	Path    string
	Type    string
	Options MountOptions
	Dump    string
	Pass    string
}

// A Mount is an entry of mounts. Without a path it takes back an earlier
// entry for the device.
type Mount MountFields

// IsSwap reports whether the entry is swap space, which has no path.
func (m Mount) IsSwap() bool { return m.Type == "swap" }

// Fill returns the mount with the fields it leaves out.
func (m Mount) Fill(defaults MountFields) Mount {
	for _, f := range []struct {
		to       *string
		values   [2]string
		fallback string
	}{
		{&m.Path, [2]string{m.Path, defaults.Path}, ""},
		{&m.Type, [2]string{m.Type, defaults.Type}, "auto"},
		{(*string)(&m.Options), [2]string{string(m.Options), string(defaults.Options)}, "defaults,nofail"},
		{&m.Dump, [2]string{m.Dump, defaults.Dump}, "0"},
		{&m.Pass, [2]string{m.Pass, defaults.Pass}, "2"},
	} {
		*f.to = cmp.Or(f.values[0], f.values[1], f.fallback)
	}
	return m
}

func (m *Mount) setNode(d *decoder, n *yaml.Node, key string) bool {
	f := (*MountFields)(m)
	if !f.setNode(d, n, key) {
		return false
	}
	if m.Device == "" {
		d.problem(n, key, "expected a device as first field")
		return false
	}
	if m.Path != "" && m.Path[0] != '/' && !(m.IsSwap() || m.Path == "none" || m.Path == "swap") {
		d.problem(n.Content[1], key+"[1]", "expected the absolute path of a directory")
		return false
	}
	if m.IsSwap() || m.Path == "none" || m.Path == "swap" {
		m.Path = ""
	}
	return true
}

// setNode takes a list of up to six texts. null stands for a field that is
// not given.
func (f *MountFields) setNode(d *decoder, n *yaml.Node, key string) bool {
	if n.Kind != yaml.SequenceNode {
		d.problem(n, key, "expected a list [device, path, type, options, dump, pass], found %s", kind(n))
		return false
	}
	to := []any{&f.Device, &f.Path, &f.Type, &f.Options, &f.Dump, &f.Pass}
	if len(n.Content) == 0 || len(n.Content) > len(to) {
		d.problem(n, key, "expected 1 to 6 fields [device, path, type, options, dump, pass], found %d", len(n.Content))
		return false
	}
	ok := true
	for i, item := range n.Content {
		ok = d.decode(item, reflect.ValueOf(to[i]).Elem(), fmt.Sprintf("%s[%d]", key, i)) && ok
	}
	return ok
}

// GrowPart says which partitions grow.
type GrowPart struct {
	// `auto` and `growpart` grow them, `off` does not.
	Mode GrowMode `yaml:"mode" def:"auto" eg:"off"`
	// Mount points or devices of the partitions.
	Devices StringList `yaml:"devices" def:"[/]" eg:"[/var/lib, /dev/sdb1]"`
	// Grow even if /etc/growroot-disabled exists.
	IgnoreGrowrootDisabled bool `yaml:"ignore_growroot_disabled" instead:"there is no such file here; use mode: off"`
}

// DiskSetup is the partition table of a disk.
type DiskSetup struct {
	// Kind of partition table.
	TableType TableType `yaml:"table_type" def:"mbr" eg:"gpt"`
	// The partitions: `true` for one that takes the whole disk, `remove` to
	// remove all, or a list of sizes in percent, with a type behind each if
	// it is not Linux.
	Layout DiskLayout `yaml:"layout" eg:"[33, [33, 82], 34]"`
	// Write it although the disk has a partition table or file system.
	Overwrite bool `yaml:"overwrite" eg:"true"`
}

// A DiskLayout is how a disk is divided. The zero value leaves it alone.
type DiskLayout struct {
	Whole, Remove bool
	Parts         []Partition
}

// A Partition takes part of a disk.
type Partition struct {
	Percent int
	// Type is a number of MBR ("82") or an identifier of GPT; "" is Linux.
	Type string
}

func (l *DiskLayout) setNode(d *decoder, n *yaml.Node, key string) bool {
	switch n.Kind {
	case yaml.ScalarNode:
		if on, known := parseBool(n.Value); known {
			*l = DiskLayout{Whole: on}
			return true
		}
		if n.Value == "remove" {
			*l = DiskLayout{Remove: true}
			return true
		}
	case yaml.SequenceNode:
		var parts []Partition
		before := len(d.problems)
		d.decodeList(n, reflect.ValueOf(&parts).Elem(), key)
		if len(d.problems) > before {
			// Half a partition table would be worse than none.
			return false
		}
		sum := 0
		for _, p := range parts {
			sum += p.Percent
		}
		if sum > 100 {
			d.problem(n, key, "the partitions take %d %% of the disk", sum)
			return false
		}
		*l = DiskLayout{Parts: parts}
		return true
	}
	d.problem(n, key, "expected true, false, remove, or a list of sizes in percent")
	return false
}

func (p *Partition) setNode(d *decoder, n *yaml.Node, key string) bool {
	size := n
	if n.Kind == yaml.SequenceNode {
		if len(n.Content) != 2 {
			d.problem(n, key, "expected [PERCENT, TYPE]")
			return false
		}
		size = resolve(n.Content[0])
		text, ok := d.text(resolve(n.Content[1]), key+"[1]", "a type of partition")
		if !ok {
			return false
		}
		p.Type = text
	}
	percent, err := strconv.Atoi(size.Value)
	if err != nil || percent < 1 || percent > 100 {
		d.problem(size, key, "expected a size in percent, 1 to 100")
		return false
	}
	p.Percent = percent
	return true
}

// FSSetup is a file system to make.
type FSSetup struct {
	// Disk, partition, or name as in `disk_setup`.
	Device Device `yaml:"device" required:"true" eg:"/dev/vdb"`
	// Partition of the disk: a number, `auto` to look for one with the label
	// and file system, `any`, or `none` for the disk itself.
	Partition FSPartition `yaml:"partition" eg:"1"`
	// Kind of file system.
	Filesystem FSType `yaml:"filesystem" def:"ext4" eg:"ext4"`
	// Its label.
	Label string `yaml:"label" eg:"data"`
	// Make it although there is one.
	Overwrite bool `yaml:"overwrite" eg:"true"`
	// With `partition: auto`, replace a file system of this kind.
	ReplaceFS FSType `yaml:"replace_fs" eg:"ntfs"`
	// Further arguments of mkfs.
	ExtraOpts Words `yaml:"extra_opts" eg:"[-m, '0']"`
	// Command to run instead of mkfs.
	Cmd Words `yaml:"cmd" instead:"use bootcmd"`
}

// Swap is a swap file.
type Swap struct {
	// Where it lies.
	Filename AbsPath `yaml:"filename" def:"/var/lib/rancher/swap.img" eg:"/var/lib/rancher/swap"`
	// Its size in bytes, with K, M, G or T; `auto` goes by the memory.
	Size Size `yaml:"size" eg:"2G"`
	// The most that `auto` may take.
	MaxSize Size `yaml:"maxsize" eg:"4G"`
}

// HasDisks reports whether the configuration wants disks, file systems or mounts
// beside the state partition.
func (c Config) HasDisks() bool { return len(c.Mounts)+len(c.DiskSetup)+len(c.FSSetup) > 0 }
