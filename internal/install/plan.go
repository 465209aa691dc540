package install

import (
	"context"
	"fmt"
	"strconv"

	"github.com/bulkhead-os/bulkhead/internal/bootstate"
	"github.com/bulkhead-os/bulkhead/internal/disklayout"
	"github.com/bulkhead-os/bulkhead/internal/gpt"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/partition"
	"github.com/bulkhead-os/bulkhead/internal/release"
	"github.com/bulkhead-os/bulkhead/internal/slots"
)

// A Source is where the system comes from: a medium as the running system has
// it mounted, and the loader's files of its image.
type Source struct{ Medium, Loader string }

// Running is the source of the system that runs.
func Running() Source { return Source{layout.MediumDir, layout.LoaderDir} }

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
	ID string
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
	// Release is the system that is installed: the one that runs.
	Release release.Release
	// state is the boot state that is written.
	state bootstate.State
	// seal and esp are slots.SealFile and FAT, but in tests on a kernel that
	// cannot.
	seal func(file, digest string) error
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
	p := &Plan{Options: o, Source: s, seal: slots.SealFile, esp: espFileSystem(o.Disk.Sector)}
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
	if p.Release, err = release.Look(context.Background(), release.Folder(s.Medium)); err != nil {
		return nil, fmt.Errorf("the running system's medium cannot be installed from: %w", err)
	}
	if err := slots.Fits(p.Release.Manifest, p.part(disklayout.SlotA).Size); err != nil {
		return nil, err
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
	return partition.Path(p.Disk.Path, strconv.Itoa(p.part(role).Number))
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
