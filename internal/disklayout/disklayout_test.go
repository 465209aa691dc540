package disklayout

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-os/bulkhead/internal/gpt"
)

func TestPlan(t *testing.T) {
	for _, c := range []struct {
		name   string
		size   int64
		sector int
		want   []string // role, start and size in MiB
	}{
		{"smallest", 3 * GiB, 512, []string{"bios 1 1", "esp 2 64", "bootstate 66 1", "a 67 320", "b 387 320", "state 707 1024", "data 1731 1340"}},
		{"4Kn", 3 * GiB, 4096, []string{"bios 1 1", "esp 2 272", "bootstate 274 1", "a 275 320", "b 595 320", "state 915 1024", "data 1939 1132"}},
		{"20 GB, odd end", 20*GiB + 12345*512, 512, []string{"bios 1 1", "esp 2 64", "bootstate 66 1", "a 67 512", "b 579 512", "state 1091 2048", "data 3139 17346"}},
		{"10 TB", 10 << 40, 4096, []string{"bios 1 1", "esp 2 272", "bootstate 274 1", "a 275 512", "b 787 512", "state 1299 8192", "data 9491 10476268"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			parts, err := Plan(c.size, c.sector)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range parts {
				got = append(got, fmt.Sprintf("%s %d %d", p.Role, p.Start/MiB, p.Size/MiB))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			table := Table(parts, c.size, c.sector, gpt.NewGUID)
			if _, err := table.Encode(); err != nil {
				t.Error(err)
			}
			if !IsInstalled(table) {
				t.Error("its own table is not known")
			}
			if n, p, found := Find(table, State); !found || n != 6 || p.Name != "bulkhead-state" {
				t.Errorf("state is partition %d, %v", n, p)
			}
		})
	}
}

func TestPlanState(t *testing.T) {
	parts, err := PlanState(4*GiB+4096, 4096)
	if err != nil {
		t.Fatal(err)
	}
	table := Table(parts, 4*GiB+4096, 4096, gpt.NewGUID)
	if _, err := table.Encode(); err != nil {
		t.Error(err)
	}
	if IsInstalled(table) {
		t.Error("a disk without a system counts as installed")
	}
	want := []Partition{{1, State, parts[0].Type, MiB, GiB}, {2, Data, parts[0].Type, MiB + GiB, 3*GiB - 2*MiB}}
	if diff := cmp.Diff(want, parts); diff != "" {
		t.Error(diff)
	}
	if _, err := PlanState(2*GiB-1, 512); err == nil {
		t.Error("too small a disk is divided")
	}
}

func TestRefuses(t *testing.T) {
	for _, d := range []disk{{3*GiB - 1, 512}, {8 * GiB, 2048}} {
		if _, err := Plan(d.size, d.sector); err == nil {
			t.Errorf("%+v: no error", d)
		}
	}
}
