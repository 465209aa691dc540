// Package bootcases is the table of what a boot loader does with the boot state
// of a disk, for tests: of the Go code, and of GRUB in a machine.
package bootcases

import (
	"bytes"

	"github.com/bulkhead-os/bulkhead/internal/bootstate"
)

// A Case is a disk and the boots that follow.
type Case struct {
	Name   string
	Blocks bootstate.Blocks
	// Lost are slots without their slot.cfg.
	Lost bootstate.Slot
	// WriteProtected: the boot loader cannot write.
	WriteProtected bool
	// Boots are the slots that start, one boot after the other, and Args the
	// parameters they get.
	Boots []bootstate.Slot
	Args  string
}

// None of what encode is given here is too long.
func encode(e interface{ Encode() ([]byte, error) }) []byte {
	block, err := e.Encode()
	if err != nil {
		panic(err)
	}
	return block
}

// state returns blocks with a state written twice, and with this count.
func state(s bootstate.State, t bootstate.Trials) bootstate.Blocks {
	block := encode(s)
	return bootstate.Blocks{OS1: block, OS2: bytes.Clone(block), Grub: encode(t)}
}

// with returns blocks after a change.
func with(b bootstate.Blocks, change func(*bootstate.Blocks)) bootstate.Blocks {
	change(&b)
	return b
}

// torn is the beginning of one block and the end of another.
func torn(to, from []byte, at int) []byte { return append(bytes.Clone(to[:at]), from[at:]...) }

// All returns the table.
func All() []Case {
	const a, b = bootstate.A, bootstate.B
	zeros := make([]byte, bootstate.Unit)
	garbage := bytes.Repeat([]byte("\x5a\x00\xff#\n"), bootstate.Unit)[:bootstate.Unit]
	none := bootstate.Trials{}
	goodA := bootstate.State{N: 7, Good: a, ID: 3, Max: 2, Args: "one=1 two"}
	goodB := bootstate.State{N: 8, Good: b, ID: 3, Max: 2, Args: "three"}
	tryB := func(limit int) bootstate.State {
		return bootstate.State{N: 9, Good: a, Try: b, ID: 4, Max: limit}
	}
	// Long enough for its last value to lie behind the first 512 bytes.
	long := bootstate.State{N: 10, Good: b, ID: 3, Max: 2, Args: string(bytes.Repeat([]byte("x=0123456789 "), 45))}
	return []Case{
		{Name: "good a", Blocks: state(goodA, none), Boots: []bootstate.Slot{a, a}, Args: goodA.Args},
		{Name: "good b", Blocks: state(goodB, none), Boots: []bootstate.Slot{b, b}, Args: goodB.Args},
		{Name: "trial once", Blocks: state(tryB(1), none), Boots: []bootstate.Slot{b, a, a}},
		{Name: "trial twice", Blocks: state(tryB(2), none), Boots: []bootstate.Slot{b, b, a, a}},
		{Name: "trial three times", Blocks: state(tryB(3), none), Boots: []bootstate.Slot{b, b, b, a}},
		{Name: "trial without a limit is tried twice", Blocks: state(tryB(0), none), Boots: []bootstate.Slot{b, b, a}},
		{Name: "a new trial begins at zero", Blocks: state(tryB(2), bootstate.Trials{ID: 3, Tries: 2}), Boots: []bootstate.Slot{b, b, a}},
		{Name: "a trial that is over", Blocks: state(tryB(2), bootstate.Trials{ID: 4, Tries: 2}), Boots: []bootstate.Slot{a}},
		{Name: "trial of the good one is none", Blocks: state(bootstate.State{N: 1, Good: b, Try: b, ID: 4, Max: 2}, none), Boots: []bootstate.Slot{b, b, b}},
		{Name: "os1 zeroed", Blocks: with(state(goodB, none), func(x *bootstate.Blocks) { x.OS1 = zeros }), Boots: []bootstate.Slot{b}, Args: goodB.Args},
		{Name: "os1 garbage", Blocks: with(state(goodB, none), func(x *bootstate.Blocks) { x.OS1 = garbage }), Boots: []bootstate.Slot{b}, Args: goodB.Args},
		{Name: "os1 torn, long block", Blocks: with(state(goodA, none), func(x *bootstate.Blocks) { x.OS1 = torn(encode(long), x.OS1, 512) }), Boots: []bootstate.Slot{a}, Args: goodA.Args},
		{Name: "os1 torn, short block is whole", Blocks: with(state(goodA, none), func(x *bootstate.Blocks) { x.OS1 = torn(encode(goodB), x.OS1, 512) }), Boots: []bootstate.Slot{b}, Args: goodB.Args},
		{Name: "os1 new, os2 old", Blocks: bootstate.Blocks{OS1: encode(goodB), OS2: encode(goodA), Grub: encode(none)}, Boots: []bootstate.Slot{b}, Args: goodB.Args},
		{Name: "both lost", Blocks: bootstate.Blocks{OS1: zeros, OS2: garbage, Grub: encode(none)}, Boots: []bootstate.Slot{a, a}},
		{Name: "both lost, a not whole", Blocks: bootstate.Blocks{OS1: zeros, OS2: zeros, Grub: encode(none)}, Lost: a, Boots: []bootstate.Slot{b}},
		{Name: "good a not whole", Blocks: state(goodA, none), Lost: a, Boots: []bootstate.Slot{b}, Args: goodA.Args},
		{Name: "trial not whole", Blocks: state(tryB(2), none), Lost: b, Boots: []bootstate.Slot{a}},
		{Name: "trial, GRUB's block damaged", Blocks: with(state(tryB(2), none), func(x *bootstate.Blocks) { x.Grub = garbage }), Boots: []bootstate.Slot{a, a}},
		{Name: "trial, write-protected", Blocks: state(tryB(2), none), WriteProtected: true, Boots: []bootstate.Slot{a, a}},
	}
}
