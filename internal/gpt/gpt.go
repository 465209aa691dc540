// Package gpt reads and writes GUID partition tables (UEFI specification,
// chapter 5) as bytes, for sectors of any size. It opens no device and knows
// no partition by its meaning.
package gpt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"unicode/utf16"
)

const (
	signature  = "EFI PART"
	revision   = 1 << 16
	headerSize = 92
	// maxEntries partitions of entrySize bytes are what every system expects.
	maxEntries = 128
	entrySize  = 128
	arraySize  = maxEntries * entrySize
)

// A Table is a disk's partition table. Its units are sectors.
type Table struct {
	ID         GUID
	SectorSize int
	// Sectors is the size of the disk.
	Sectors uint64
	// Partitions are by number, from 1; one without Type is not there.
	Partitions []Partition
}

// A Partition is one entry.
type Partition struct {
	Type, ID       GUID
	Start, Sectors uint64
	Attributes     uint64
	Name           string
}

// arraySectors is how many sectors the entries take.
func (t Table) arraySectors() uint64 { return uint64(arraySize / t.SectorSize) }

// usable are the first and the last sector that a partition may have.
func (t Table) usable() (first, last uint64) {
	return 2 + t.arraySectors(), t.Sectors - 2 - t.arraySectors()
}

func (t Table) check() error {
	if t.SectorSize < 512 || arraySize%t.SectorSize != 0 {
		return fmt.Errorf("sectors of %d bytes", t.SectorSize)
	}
	if t.Sectors < 2*(2+t.arraySectors())+1 {
		return fmt.Errorf("a disk of %d sectors has no room for a table", t.Sectors)
	}
	if len(t.Partitions) > maxEntries {
		return fmt.Errorf("%d partitions: at most %d", len(t.Partitions), maxEntries)
	}
	first, last := t.usable()
	var there []Partition
	for i, p := range t.Partitions {
		if p.Type == (GUID{}) {
			continue
		}
		if p.Sectors == 0 || p.Start < first || p.Start > last || p.Sectors > last-p.Start+1 {
			return fmt.Errorf("partition %d, %d sectors from %d, is not within %d to %d", i+1, p.Sectors, p.Start, first, last)
		}
		if len(utf16.Encode([]rune(p.Name))) > 36 {
			return fmt.Errorf("partition %d: name %q is longer than 36 characters", i+1, p.Name)
		}
		there = append(there, p)
	}
	slices.SortFunc(there, func(a, b Partition) int { return int(int64(a.Start) - int64(b.Start)) })
	for i := 1; i < len(there); i++ {
		if there[i-1].Start+there[i-1].Sectors > there[i].Start {
			return fmt.Errorf("partitions %q and %q overlap", there[i-1].Name, there[i].Name)
		}
	}
	return nil
}

// Encoded is a table as it lies on the disk.
type Encoded struct {
	// MBR is the protective one, the first sector, without boot code.
	MBR []byte
	// Primary follows it. Backup ends with the last sector of the disk.
	Primary, Backup []byte
}

// Encode returns the bytes of a table.
func (t Table) Encode() (Encoded, error) {
	if err := t.check(); err != nil {
		return Encoded{}, fmt.Errorf("partition table: %w", err)
	}
	entries := t.entries()
	last := t.Sectors - 1
	backupEntries := last - t.arraySectors()
	return Encoded{
		MBR:     t.protectiveMBR(),
		Primary: append(t.header(entries, 1, last, 2), entries...),
		Backup:  append(bytes.Clone(entries), t.header(entries, last, 1, backupEntries)...),
	}, nil
}

func (t Table) entries() []byte {
	array := make([]byte, arraySize)
	for i, p := range t.Partitions {
		if p.Type == (GUID{}) {
			continue
		}
		e := array[i*entrySize:]
		copy(e[0:], p.Type[:])
		copy(e[16:], p.ID[:])
		binary.LittleEndian.PutUint64(e[32:], p.Start)
		binary.LittleEndian.PutUint64(e[40:], p.Start+p.Sectors-1)
		binary.LittleEndian.PutUint64(e[48:], p.Attributes)
		for j, u := range utf16.Encode([]rune(p.Name)) {
			binary.LittleEndian.PutUint16(e[56+2*j:], u)
		}
	}
	return array
}

// header returns the sector of a header at the sector self, whose twin is at
// other and whose entries begin at array.
func (t Table) header(entries []byte, self, other, array uint64) []byte {
	h := make([]byte, t.SectorSize)
	first, last := t.usable()
	copy(h, signature)
	binary.LittleEndian.PutUint32(h[8:], revision)
	binary.LittleEndian.PutUint32(h[12:], headerSize)
	binary.LittleEndian.PutUint64(h[24:], self)
	binary.LittleEndian.PutUint64(h[32:], other)
	binary.LittleEndian.PutUint64(h[40:], first)
	binary.LittleEndian.PutUint64(h[48:], last)
	copy(h[56:], t.ID[:])
	binary.LittleEndian.PutUint64(h[72:], array)
	binary.LittleEndian.PutUint32(h[80:], maxEntries)
	binary.LittleEndian.PutUint32(h[84:], entrySize)
	binary.LittleEndian.PutUint32(h[88:], crc32.ChecksumIEEE(entries))
	binary.LittleEndian.PutUint32(h[16:], crc32.ChecksumIEEE(h[:headerSize]))
	return h
}

// protectiveMBR tells programs that know no GPT that the disk is taken.
func (t Table) protectiveMBR() []byte {
	mbr := make([]byte, t.SectorSize)
	e := mbr[446:]
	copy(e[1:], []byte{0x00, 0x02, 0x00}) // first sector: cylinder 0, head 0, sector 2
	e[4] = 0xee
	copy(e[5:], []byte{0xff, 0xff, 0xff})
	binary.LittleEndian.PutUint32(e[8:], 1)
	binary.LittleEndian.PutUint32(e[12:], uint32(min(t.Sectors-1, 0xffffffff)))
	mbr[510], mbr[511] = 0x55, 0xaa
	return mbr
}

// ErrNone says that a disk has no such table.
var ErrNone = errors.New("no GUID partition table")

// Read reads the table of a disk of size bytes: the primary one, or the backup
// if that is damaged.
func Read(r io.ReaderAt, size int64, sectorSize int) (Table, error) {
	t := Table{SectorSize: sectorSize, Sectors: uint64(size) / uint64(sectorSize)}
	if sectorSize < 512 || t.Sectors < 4 {
		return Table{}, ErrNone
	}
	var errs []error
	for _, at := range []uint64{1, t.Sectors - 1} {
		err := t.read(r, at)
		if err == nil {
			return t, nil
		}
		errs = append(errs, err)
	}
	return Table{}, errors.Join(errs...)
}

// read fills in the table whose header is at a sector.
func (t *Table) read(r io.ReaderAt, at uint64) error {
	h := make([]byte, t.SectorSize)
	if _, err := r.ReadAt(h, int64(at)*int64(t.SectorSize)); err != nil {
		return fmt.Errorf("partition table: %w", err)
	}
	if string(h[:8]) != signature {
		return ErrNone
	}
	size, sum := binary.LittleEndian.Uint32(h[12:]), binary.LittleEndian.Uint32(h[16:])
	if size < headerSize || int(size) > len(h) {
		return fmt.Errorf("partition table: a header of %d bytes", size)
	}
	clear(h[16:20])
	if crc32.ChecksumIEEE(h[:size]) != sum || binary.LittleEndian.Uint64(h[24:]) != at {
		return fmt.Errorf("partition table: the header at sector %d is damaged", at)
	}
	n, each := binary.LittleEndian.Uint32(h[80:]), binary.LittleEndian.Uint32(h[84:])
	if n > 1024 || each < entrySize || each > 4096 {
		return fmt.Errorf("partition table: %d entries of %d bytes", n, each)
	}
	array := make([]byte, n*each)
	if _, err := r.ReadAt(array, int64(binary.LittleEndian.Uint64(h[72:]))*int64(t.SectorSize)); err != nil {
		return fmt.Errorf("partition table: %w", err)
	}
	if crc32.ChecksumIEEE(array) != binary.LittleEndian.Uint32(h[88:]) {
		return fmt.Errorf("partition table: the entries of the header at sector %d are damaged", at)
	}
	copy(t.ID[:], h[56:])
	t.Partitions = nil
	last := 0
	for i := range int(n) {
		p := readEntry(array[i*int(each):])
		if t.Partitions = append(t.Partitions, p); p.Type != (GUID{}) {
			last = i + 1
		}
	}
	t.Partitions = t.Partitions[:last]
	return nil
}

func readEntry(e []byte) Partition {
	p := Partition{
		Type: GUID(e[0:16]), ID: GUID(e[16:32]),
		Start:      binary.LittleEndian.Uint64(e[32:]),
		Attributes: binary.LittleEndian.Uint64(e[48:]),
	}
	if p.Type == (GUID{}) {
		return Partition{}
	}
	p.Sectors = binary.LittleEndian.Uint64(e[40:]) - p.Start + 1
	var name []uint16
	for j := range 36 {
		u := binary.LittleEndian.Uint16(e[56+2*j:])
		if u == 0 {
			break
		}
		name = append(name, u)
	}
	p.Name = string(utf16.Decode(name))
	return p
}
