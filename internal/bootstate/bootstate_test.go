package bootstate_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-os/bulkhead/internal/bootstate"
	"github.com/bulkhead-os/bulkhead/internal/bootstate/bootcases"
)

// The same table runs against GRUB in a machine: TestBootState in e2e.
func TestNext(t *testing.T) {
	for _, c := range bootcases.All() {
		t.Run(c.Name, func(t *testing.T) {
			blocks := c.Blocks
			for i, want := range c.Boots {
				// GRUB's save_env fails on what is no environment block.
				_, err := bootstate.Decode(blocks.Grub)
				got := blocks.Next(err == nil && !c.WriteProtected, func(s bootstate.Slot) bool { return s != c.Lost })
				if got.Slot != want || got.Args != c.Args {
					t.Fatalf("boot %d: %+v, want slot %s with %q", i+1, got, want, c.Args)
				}
				if got.Trial {
					if blocks.Grub, err = got.Count.Encode(); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
}

func TestRoundTrip(t *testing.T) {
	for _, s := range []bootstate.State{
		{N: 1, Good: bootstate.A, Max: 2},
		{N: 1 << 40, Good: bootstate.B, Try: bootstate.A, ID: 12, Max: 3, Args: `a="b c" d=\e`},
	} {
		block, err := s.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if len(block) != bootstate.Unit {
			t.Errorf("a block of %d bytes", len(block))
		}
		got, err := bootstate.ParseState(block)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(s, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestArgsTooLong(t *testing.T) {
	if _, err := (bootstate.State{Args: strings.Repeat("x", bootstate.BlockSize)}).Encode(); err == nil {
		t.Error("no error")
	}
}
