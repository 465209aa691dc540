package bootstate_test

import (
	"errors"
	"os"
	"path/filepath"
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

func TestUpkeep(t *testing.T) {
	const a, b = bootstate.A, bootstate.B
	block := func(e interface{ Encode() ([]byte, error) }) []byte {
		raw, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	good := bootstate.State{N: 4, Good: a, Max: 2, Args: "x"}
	older := bootstate.State{N: 3, Good: b, Max: 2}
	trial := bootstate.State{N: 5, Good: a, Try: b, ID: 9, Max: 2, Args: "x"}
	after := func(s bootstate.State) bootstate.State { s.N++; s.Try = ""; return s }
	for _, c := range []struct {
		name    string
		blocks  bootstate.Blocks
		running bootstate.Slot
		want    bootstate.State
		why     string
	}{
		{"as it should be", bootstate.Blocks{OS1: block(good), OS2: block(good)}, a, good, ""},
		{"the other system was chosen in the menu", bootstate.Blocks{OS1: block(good), OS2: block(good)}, b, good, ""},
		{"both lost", bootstate.Blocks{}, b, bootstate.State{N: 1, Good: b, Max: 2}, "both blocks"},
		{"first lost", bootstate.Blocks{OS2: block(good)}, a, after(good), "one block"},
		{"second lost", bootstate.Blocks{OS1: block(good), OS2: make([]byte, bootstate.Unit)}, a, after(good), "one block"},
		{"second older", bootstate.Blocks{OS1: block(good), OS2: block(older)}, a, after(good), "older"},
		{"during a trial", bootstate.Blocks{OS1: block(trial), OS2: block(trial)}, b, trial, ""},
		{"after a trial", bootstate.Blocks{OS1: block(trial), OS2: block(trial), Grub: block(bootstate.Trials{ID: 9, Tries: 2})}, a, after(trial), "did not come up"},
		{"after a trial that says why", bootstate.Blocks{
			OS1: block(trial), OS2: block(trial), Grub: block(bootstate.Trials{ID: 9, Tries: 1}),
			Cause: block(bootstate.Cause{ID: 9, Text: "the dog\nate it"}),
		}, a, after(trial), "the dog ate it"},
		{"the cause of another trial", bootstate.Blocks{
			OS1: block(trial), OS2: block(trial), Grub: block(bootstate.Trials{ID: 9, Tries: 1}),
			Cause: block(bootstate.Cause{ID: 8, Text: "the dog"}),
		}, a, after(trial), "did not come up"},
		{"a trial that could not be counted", bootstate.Blocks{OS1: block(trial), OS2: block(trial), Grub: block(bootstate.Trials{ID: 8, Tries: 2})}, a, after(trial), "was not tried"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, why := c.blocks.Upkeep(c.running)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if !strings.Contains(why, c.why) || (c.why == "") != (why == "") {
				t.Errorf("reason %q; want %q", why, c.why)
			}
		})
	}
}

func TestStore(t *testing.T) {
	file := filepath.Join(t.TempDir(), "partition")
	if err := os.WriteFile(file, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	s := bootstate.Store{Device: file}
	want := bootstate.State{N: 2, Good: bootstate.B, Max: 2, Args: "y"}
	if err := s.Write(want); err != nil {
		t.Fatal(err)
	}
	blocks, err := s.Read()
	if err != nil {
		t.Fatal(err)
	}
	// What is not on trial has no cause.
	if err := s.Note(bootstate.B, "none"); err != nil {
		t.Fatal(err)
	}
	if got, why := blocks.Upkeep(bootstate.B); got != want || why != "" {
		t.Errorf("%+v, %q; want %+v", got, why, want)
	}
	trial := bootstate.State{N: 3, Good: bootstate.A, Try: bootstate.B, ID: 7, Max: 1}
	long := strings.Repeat("ü=\\\n", bootstate.BlockSize)
	if err := errors.Join(s.Write(trial), s.Note(bootstate.A, "not this one"), s.Note(bootstate.B, long)); err != nil {
		t.Fatal(err)
	}
	if blocks, err = s.Read(); err != nil {
		t.Fatal(err)
	}
	cause, err := bootstate.ParseCause(blocks.Cause)
	if err != nil || cause.ID != 7 || !strings.HasPrefix(cause.Text, `ü=\ ü=\`) || !strings.HasSuffix(cause.Text, "…") {
		t.Errorf("cause %+v, %v", cause, err)
	}
}
