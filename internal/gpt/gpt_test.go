package gpt

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func sample(sector int) Table {
	n := byte(0)
	id := func() GUID { n++; return GUID{n, 2, 3} }
	unit := uint64(1<<20) / uint64(sector)
	return Table{
		ID: id(), SectorSize: sector, Sectors: 3 << 30 / uint64(sector),
		Partitions: []Partition{
			{Type: MustGUID("C12A7328-F81F-11D2-BA4B-00A0C93EC93B"), ID: id(), Start: unit, Sectors: 64 * unit, Name: "first"},
			{},
			{Type: MustGUID("0FC63DAF-8483-4772-8E79-3D69D8477DE4"), ID: id(), Start: 65 * unit, Sectors: unit, Name: "zweite ü", Attributes: 4},
		},
	}
}

// write makes a disk image of a table.
func write(t *testing.T, table Table) *os.File {
	t.Helper()
	e, err := table.Encode()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "disk"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	size := int64(table.Sectors) * int64(table.SectorSize)
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	for at, b := range map[int64][]byte{0: e.MBR, int64(table.SectorSize): e.Primary, size - int64(len(e.Backup)): e.Backup} {
		if _, err := f.WriteAt(b, at); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func TestReadsWhatItWrites(t *testing.T) {
	for _, sector := range []int{512, 4096} {
		want := sample(sector)
		f := write(t, want)
		size := int64(want.Sectors) * int64(sector)
		for _, damage := range []int64{-1, int64(sector), 2 * int64(sector)} {
			if damage >= 0 {
				if _, err := f.WriteAt([]byte("x"), damage); err != nil {
					t.Fatal(err)
				}
			}
			got, err := Read(f, size, sector)
			if err != nil {
				t.Fatalf("damage at %d: %v", damage, err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("damage at %d: %s", damage, diff)
			}
		}
		if _, err := f.WriteAt([]byte("x"), size-int64(sector)); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(f, size, sector); err == nil {
			t.Error("a table with both headers damaged is read")
		}
	}
}

func TestNoTable(t *testing.T) {
	if _, err := Read(strings.NewReader(strings.Repeat("\x00", 1<<20)), 1<<20, 512); !errors.Is(err, ErrNone) {
		t.Errorf("error %v", err)
	}
}

func TestMistakes(t *testing.T) {
	for name, change := range map[string]func(*Table){
		"overlap":       func(t *Table) { t.Partitions[2].Start-- },
		"too far":       func(t *Table) { t.Partitions[2].Sectors = t.Sectors },
		"over the head": func(t *Table) { t.Partitions[0].Start = 33 },
		"empty":         func(t *Table) { t.Partitions[0].Sectors = 0 },
		"long name":     func(t *Table) { t.Partitions[0].Name = strings.Repeat("x", 37) },
		"sector":        func(t *Table) { t.SectorSize = 100 },
		"small":         func(t *Table) { t.Sectors = 10 },
	} {
		table := sample(512)
		change(&table)
		if _, err := table.Encode(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestSfdisk has sfdisk read a table, and compares the table that it writes of
// the same partitions byte for byte.
func TestSfdisk(t *testing.T) {
	sfdisk := ""
	for _, path := range []string{"/usr/sbin/sfdisk", "/sbin/sfdisk"} {
		if _, err := os.Stat(path); err == nil {
			sfdisk = path
		}
	}
	if sfdisk == "" {
		if os.Getenv("E2E") == "required" {
			t.Fatal("sfdisk (Debian package fdisk) is not installed")
		}
		t.Skip("sfdisk (Debian package fdisk) is not installed")
	}
	table := sample(512)
	ours := write(t, table)
	out, err := exec.Command(sfdisk, "--json", ours.Name()).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var read struct {
		PartitionTable struct {
			Label, ID  string
			Partitions []struct {
				Start, Size      uint64
				Type, UUID, Name string
			}
		}
	}
	if err := json.Unmarshal(out, &read); err != nil {
		t.Fatal(err)
	}
	got := read.PartitionTable
	if got.Label != "gpt" || !strings.EqualFold(got.ID, table.ID.String()) || len(got.Partitions) != 2 || got.Partitions[1].Name != "zweite ü" {
		t.Errorf("sfdisk reads %s", out)
	}

	theirs := write(t, Table{SectorSize: 512, Sectors: table.Sectors})
	if err := theirs.Truncate(0); err != nil {
		t.Fatal(err)
	}
	if err := theirs.Truncate(int64(table.Sectors) * 512); err != nil {
		t.Fatal(err)
	}
	dump, err := exec.Command(sfdisk, "--dump", ours.Name()).Output()
	if err != nil {
		t.Fatal(err)
	}
	write := exec.Command(sfdisk, "--quiet", "--no-tell-kernel", theirs.Name())
	write.Stdin = strings.NewReader(string(dump))
	if out, err := write.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, at := range []struct {
		name         string
		offset, size int64
	}{{"MBR's entry", 440, 72}, {"primary table", 512, 33 * 512}, {"backup table", int64(table.Sectors-33) * 512, 33 * 512}} {
		a, b := make([]byte, at.size), make([]byte, at.size)
		if _, err := ours.ReadAt(a, at.offset); err != nil {
			t.Fatal(err)
		}
		if _, err := theirs.ReadAt(b, at.offset); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(b, a); diff != "" {
			t.Errorf("%s (sfdisk's, ours): %s", at.name, diff)
		}
	}
}
