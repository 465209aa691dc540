// Package disklayout says how a disk is divided: one table, which the installer,
// the boot and the tests share. It computes and does nothing.
package disklayout

import (
	"fmt"

	"github.com/bulkhead-os/bulkhead/internal/gpt"
	"github.com/bulkhead-os/bulkhead/internal/layout"
)

// A Role is what a partition is for. The partition's name in the table is the
// prefix NamePrefix and the role.
type Role string

// The roles, in the order of the partitions.
const (
	BIOS      Role = "bios"
	ESP       Role = "esp"
	BootState Role = "bootstate"
	SlotA     Role = "a"
	SlotB     Role = "b"
	State     Role = "state"
	Data      Role = "data"
)

// NamePrefix begins the name of each partition.
const NamePrefix = "bulkhead-"

// Name is the partition's name in the table.
func (r Role) Name() string { return NamePrefix + string(r) }

// Sizes in bytes.
const (
	MiB = 1 << 20
	GiB = 1 << 30
	// Smallest is the smallest disk that is installed to.
	Smallest = 3 * GiB
	// SmallestForData is the smallest disk without a system on it that people's
	// data has a partition of its own on.
	SmallestForData = 2 * GiB
	// smallDisk is what a disk needs for slots of full size.
	smallDisk = 8 * GiB
)

// A disk is what sizes depend on.
type disk struct {
	size   int64
	sector int
}

// row is one line of the table.
type row struct {
	role Role
	kind gpt.GUID
	// size is in bytes; without it the partition takes the rest of the disk.
	size func(d disk) int64
}

// rows is the layout.
func rows() []row {
	biosBoot := gpt.MustGUID("21686148-6449-6E6F-744E-656564454649")
	efiSystem := gpt.MustGUID("C12A7328-F81F-11D2-BA4B-00A0C93EC93B")
	linux := gpt.MustGUID("0FC63DAF-8483-4772-8E79-3D69D8477DE4")
	return []row{
		{BIOS, biosBoot, fixed(1 * MiB)}, // core.img; the upper half is for the next one
		{ESP, efiSystem, espSize},
		{BootState, linux, fixed(1 * MiB)},
		{SlotA, linux, slotSize},
		{SlotB, linux, slotSize},
		{State, linux, stateSize},
		{Data, linux, nil},
	}
}

func fixed(size int64) func(disk) int64 { return func(disk) int64 { return size } }

// espSize: FAT32, which UEFI asks for, has at least 65,525 clusters of at least
// a sector.
func espSize(d disk) int64 {
	if d.sector > 512 {
		return 272 * MiB
	}
	return 64 * MiB
}

func slotSize(d disk) int64 {
	if d.size < smallDisk {
		return 320 * MiB
	}
	return 512 * MiB
}

func stateSize(d disk) int64 {
	return min(max(d.size/10, 1*GiB), 8*GiB) / MiB * MiB
}

// A Partition is one of the layout on a certain disk, in bytes.
type Partition struct {
	Number      int
	Role        Role
	Type        gpt.GUID
	Start, Size int64
}

// Plan divides a disk of size bytes for a system.
func Plan(size int64, sector int) ([]Partition, error) {
	if size < Smallest {
		return nil, fmt.Errorf("%d MiB are too few: an installed system needs %d GiB", size/MiB, Smallest/GiB)
	}
	return divide(disk{size, sector}, rows())
}

// PlanState divides a disk of size bytes for what lasts, of a system that comes
// from elsewhere.
func PlanState(size int64, sector int) ([]Partition, error) {
	if size < SmallestForData {
		return nil, fmt.Errorf("%d MiB are too few: state and data need %d GiB", size/MiB, SmallestForData/GiB)
	}
	all := rows()
	return divide(disk{size, sector}, all[len(all)-2:])
}

func divide(d disk, rows []row) ([]Partition, error) {
	if d.sector != 512 && d.sector != 4096 {
		return nil, fmt.Errorf("sectors of %d bytes: want 512 or 4096", d.sector)
	}
	// One MiB in front and one behind are the table's.
	at, end := int64(MiB), d.size/MiB*MiB-MiB
	var parts []Partition
	for i, r := range rows {
		p := Partition{Number: i + 1, Role: r.role, Type: r.kind, Start: at, Size: end - at}
		if r.size != nil {
			p.Size = r.size(d)
		}
		at += p.Size
		parts = append(parts, p)
	}
	return parts, nil
}

// Table makes the partition table of a plan. newID makes the names of the disk
// and its partitions.
func Table(parts []Partition, size int64, sector int, newID func() gpt.GUID) gpt.Table {
	unit := int64(sector)
	t := gpt.Table{ID: newID(), SectorSize: sector, Sectors: uint64(size / unit)}
	for _, p := range parts {
		t.Partitions = append(t.Partitions, gpt.Partition{
			Type: p.Type, ID: newID(), Name: p.Role.Name(),
			Start: uint64(p.Start / unit), Sectors: uint64(p.Size / unit),
		})
	}
	return t
}

// IsInstalled reports whether a table is that of an installed system.
func IsInstalled(t gpt.Table) bool {
	all := rows()
	if len(t.Partitions) < len(all) {
		return false
	}
	for i, r := range all {
		if t.Partitions[i].Name != r.role.Name() {
			return false
		}
	}
	return true
}

// MakeFS are the arguments of mkfs.ext4 for a partition of state or data. -F:
// the device may be a whole disk.
func (p Partition) MakeFS(device string) []string {
	args := []string{"-q", "-F", "-e", "remount-ro"}
	if p.Role == Data {
		args = append(args, "-L", layout.DataLabel, "-m", fmt.Sprintf("%.4f", float64(dataReserve(p.Size))*100/float64(p.Size)))
	} else {
		args = append(args, "-L", layout.StateLabel)
	}
	return append(args, device)
}

// dataReserve is what only daemons get of the data partition of size bytes: user
// Docker must be able to start and to delete when containers have filled it.
func dataReserve(size int64) int64 { return min(max(size/50, 64*MiB), GiB) }

// Find returns the partition of a table that has a role.
func Find(t gpt.Table, role Role) (number int, p gpt.Partition, found bool) {
	for i, p := range t.Partitions {
		if p.Name == role.Name() {
			return i + 1, p, true
		}
	}
	return 0, gpt.Partition{}, false
}
