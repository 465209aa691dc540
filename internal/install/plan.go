package install

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/bulkhead-os/bulkhead/internal/bootstate"
	"github.com/bulkhead-os/bulkhead/internal/disklayout"
	"github.com/bulkhead-os/bulkhead/internal/gpt"
	"github.com/bulkhead-os/bulkhead/internal/layout"
)

// A Source is where the system comes from: a medium as the running system has
// it mounted, and the loader's files of its image.
type Source struct{ Medium, Loader string }

// Running is the source of the system that runs.
func Running() Source { return Source{layout.MediumDir, layout.LoaderDir} }

// slotFiles are copied into a slot, the small ones first.
var slotFiles = []string{layout.InitramfsFile, layout.KernelFile, layout.RootImage}

// size is how much is copied into a slot, in bytes.
func (s Source) size() (int64, error) {
	var total int64
	for _, name := range slotFiles {
		info, err := os.Stat(filepath.Join(s.Medium, name))
		if err != nil {
			return 0, fmt.Errorf("the running system's medium cannot be installed from: %w", err)
		}
		total += info.Size()
	}
	return total, nil
}

// A File is one of the configuration, by its path in the state.
type File struct {
	Path string
	Data []byte
}

// Options are what people choose.
type Options struct {
	Disk   Disk
	Config []File
	// Args are further kernel parameters.
	Args string
	// ID names this installation, so that it is not made twice.
	ID      string
	Version string
	// Tool puts what runs Debian's programs in front of their command line.
	Tool []string
	// Dir is a directory for mounts.
	Dir string
}

// A Plan is all that is decided before anything is written.
type Plan struct {
	Options
	Source Source
	Parts  []disklayout.Partition
	Table  gpt.Table
	table  gpt.Encoded
	// state is the boot state that is written.
	state bootstate.State
	bytes int64
	// seal and esp are sealFile and FAT, but in tests on a kernel that cannot.
	seal func(file string) error
	esp  fileSystem
}

// A fileSystem is what mount(2) calls it, and what makes it on a device.
type fileSystem struct {
	kind string
	make []string
}

// espFileSystem is FAT32 as UEFI asks for.
func espFileSystem(sector int) fileSystem {
	return fileSystem{"vfat", []string{"/usr/sbin/mkfs.vfat", "-F", "32", "-s", "1", "-S", strconv.Itoa(sector), "-n", "BULKHEADEFI"}}
}

// New makes a plan. Only a disk that is not refused has one.
func New(o Options, s Source) (*Plan, error) {
	if err := o.Disk.Refusal(); err != nil {
		return nil, err
	}
	p := &Plan{Options: o, Source: s, seal: sealFile, esp: espFileSystem(o.Disk.Sector)}
	var err error
	if p.Parts, err = disklayout.Plan(o.Disk.Size, o.Disk.Sector); err != nil {
		return nil, err
	}
	p.Table = disklayout.Table(p.Parts, o.Disk.Size, o.Disk.Sector, gpt.NewGUID)
	if p.table, err = p.Table.Encode(); err != nil {
		return nil, err
	}
	p.state = bootstate.State{N: 1, Good: bootstate.A, Max: bootstate.DefaultMax, Args: o.Args}
	if _, err := p.state.Encode(); err != nil {
		return nil, err
	}
	if p.bytes, err = s.size(); err != nil {
		return nil, err
	}
	if slot := p.part(disklayout.SlotA); p.bytes > slot.Size*9/10 {
		return nil, fmt.Errorf("the system has %d MiB, too much for a slot of %d MiB", p.bytes/disklayout.MiB, slot.Size/disklayout.MiB)
	}
	return p, nil
}

func (p *Plan) part(role disklayout.Role) disklayout.Partition {
	for _, part := range p.Parts {
		if part.Role == role {
			return part
		}
	}
	panic("BUG: no partition " + role)
}

// device is the node of a partition.
func (p *Plan) device(role disklayout.Role) string {
	return partitionPath(p.Disk.Path, p.part(role).Number)
}

func partitionPath(disk string, number int) string {
	if last := disk[len(disk)-1]; '0' <= last && last <= '9' {
		disk += "p"
	}
	return fmt.Sprintf("%s%d", disk, number)
}

// A Step is one part of the work.
type Step struct {
	Name string
	do   func(r *run, ctx context.Context) error
}

// Steps is the whole installation, in order.
func (p *Plan) Steps() []Step {
	return []Step{
		{"clear", (*run).clear},
		{"partitions", (*run).addPartitions},
		{"state", (*run).makeState},
		{"data", (*run).makeData},
		{"boot state", (*run).writeBootState},
		{"system", (*run).copySystem},
		{"check", (*run).checkSystem},
		{"EFI partition", (*run).makeESP},
		{"boot code", (*run).writeBootCode},
		{"partition table", (*run).writeTable},
	}
}
