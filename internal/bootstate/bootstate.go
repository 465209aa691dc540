// Package bootstate reads, writes and judges what an installed disk knows of
// its two systems: which one is good, which one is on trial, how often that was
// tried. The boot loader reads the same blocks by iso/loader/grub.cfg, and one
// table of cases (bootcases) holds for both.
package bootstate

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// The blocks are files of an ext2 file system that nobody mounts: GRUB can only
// write within a file. These are their places in the partition; the build
// checks them. Each has a unit of 4 KiB for itself, so that it is written as a
// whole whatever a sector is.
const (
	GrubOffset   = 40 << 10
	OS1Offset    = 44 << 10
	OS2Offset    = 48 << 10
	RecordOffset = 52 << 10
	CauseOffset  = 56 << 10
	// Unit is how much is read and written at once.
	Unit = 4096
	// BlockSize is the size of each file, as GRUB makes environment blocks.
	BlockSize = 1024
)

// A Slot is one of the two systems.
type Slot string

// The slots; None is neither.
const (
	A    Slot = "a"
	B    Slot = "b"
	None Slot = ""
)

// Other returns the other slot.
func (s Slot) Other() Slot {
	if s == B {
		return A
	}
	return B
}

// A State is what the OS writes, twice: blocks os1 and os2.
type State struct {
	// N counts the states; it is written first and last, so a block that was
	// torn shows.
	N uint64
	// Good is the system that is known to work.
	Good Slot
	// Try is the one on trial, number ID, at most Max times.
	Try Slot
	ID  uint64
	Max int
	// Args are the owner's kernel parameters.
	Args string
}

// Trials is what GRUB writes before it starts a trial.
type Trials struct {
	ID    uint64
	Tries int
}

// A Cause is why a trial fails, as the system on trial has written it down.
type Cause struct {
	// ID is the trial's number.
	ID   uint64
	Text string
}

// maxCause is the room for a text in a block, whatever has to be escaped.
const maxCause = 400

// Encode returns the block of a cause: in one line, and as much as fits.
func (c Cause) Encode() ([]byte, error) {
	text := strings.Join(strings.Fields(c.Text), " ")
	if len(text) > maxCause {
		text = strings.ToValidUTF8(text[:maxCause], "") + "…"
	}
	return encode([]pair{{"cid", strconv.FormatUint(c.ID, 10)}, {"cause", text}})
}

// ParseCause reads the block of a cause.
func ParseCause(block []byte) (Cause, error) {
	v, err := Decode(block)
	if err != nil {
		return Cause{}, err
	}
	id, err := strconv.ParseUint(v["cid"], 10, 64)
	return Cause{ID: id, Text: v["cause"]}, err
}

// DefaultMax is how often a new system is tried.
const DefaultMax = 2

// Encode returns the block of a state.
func (s State) Encode() ([]byte, error) {
	n := strconv.FormatUint(s.N, 10)
	return encode([]pair{
		{"first", n},
		{"good", string(s.Good)},
		{"try", string(s.Try)},
		{"id", strconv.FormatUint(s.ID, 10)},
		{"max", strconv.Itoa(s.Max)},
		{"args", s.Args},
		{"last", n},
	})
}

// Encode returns the block of trials.
func (t Trials) Encode() ([]byte, error) {
	return encode([]pair{{"tid", strconv.FormatUint(t.ID, 10)}, {"tries", strconv.Itoa(t.Tries)}})
}

// ErrTorn says that a block was not written as a whole.
var ErrTorn = errors.New("the block was not written as a whole")

// ParseState reads a block of the OS.
func ParseState(block []byte) (State, error) {
	v, err := Decode(block)
	if err != nil {
		return State{}, err
	}
	if v["first"] == "" || v["first"] != v["last"] {
		return State{}, ErrTorn
	}
	s := State{Good: A, Try: Slot(v["try"]), Args: v["args"]}
	if v["good"] == string(B) {
		s.Good = B
	}
	if s.N, err = strconv.ParseUint(v["first"], 10, 64); err != nil {
		return State{}, fmt.Errorf("first: %w", err)
	}
	// GRUB compares these as text; what is no number is none here.
	s.ID, _ = strconv.ParseUint(v["id"], 10, 64)
	s.Max, _ = strconv.Atoi(v["max"])
	return s, nil
}

// ParseTrials reads GRUB's block.
func ParseTrials(block []byte) (Trials, error) {
	v, err := Decode(block)
	if err != nil {
		return Trials{}, err
	}
	var t Trials
	if t.ID, err = strconv.ParseUint(v["tid"], 10, 64); err != nil {
		return Trials{}, fmt.Errorf("tid: %w", err)
	}
	if t.Tries, err = strconv.Atoi(v["tries"]); err != nil {
		return Trials{}, fmt.Errorf("tries: %w", err)
	}
	return t, nil
}

// Blocks are what is in the partition; nil for one that cannot be read.
type Blocks struct{ OS1, OS2, Grub, Cause []byte }

// Read returns the state that counts: os1 if it is whole, else os2. Without
// either it is the zero State, with A as good, and an error.
func (b Blocks) Read() (State, error) {
	first, err1 := ParseState(b.OS1)
	if err1 == nil {
		return first, nil
	}
	second, err2 := ParseState(b.OS2)
	if err2 == nil {
		return second, nil
	}
	return State{Good: A}, fmt.Errorf("no boot state: os1: %w, os2: %w", err1, err2)
}

// A Start is what the boot loader does.
type Start struct {
	Slot Slot
	Args string
	// Trial is set if it is one, and Count what was written before it.
	Trial bool
	Count Trials
}

// Next is what the boot loader does with the blocks. writable says that it
// can write its own block, whole that a slot has its slot.cfg.
func (b Blocks) Next(writable bool, whole func(Slot) bool) Start {
	s, _ := b.Read()
	start := Start{Slot: s.Good, Args: s.Args}
	if next, is := s.next(b.Grub); is && writable {
		start.Slot, start.Trial, start.Count = s.Try, true, next
	}
	if !whole(start.Slot) {
		start.Slot = start.Slot.Other()
	}
	return start
}

// next is the count of the trial that comes next, if there is one.
func (s State) next(grub []byte) (Trials, bool) {
	if s.Try == None || s.Try == s.Good {
		return Trials{}, false
	}
	t, err := ParseTrials(grub)
	if err != nil || t.ID != s.ID {
		t = Trials{ID: s.ID}
	}
	limit := s.Max
	if limit != 1 && limit != 3 {
		limit = DefaultMax
	}
	if t.Tries < 0 || t.Tries >= limit {
		return Trials{}, false
	}
	return Trials{ID: s.ID, Tries: t.Tries + 1}, true
}

// header begins each block.
const header = "# GRUB Environment Block\n"

type pair struct{ key, value string }

// encode makes an environment block, with zeros behind it up to Unit.
func encode(pairs []pair) ([]byte, error) {
	var b strings.Builder
	b.WriteString(header)
	escape := strings.NewReplacer(`\`, `\\`, "\n", "\\\n")
	for _, p := range pairs {
		fmt.Fprintf(&b, "%s=%s\n", p.key, escape.Replace(p.value))
	}
	if b.Len() > BlockSize {
		return nil, fmt.Errorf("boot state: %d bytes are too many, at most %d: shorten the kernel parameters", b.Len(), BlockSize)
	}
	block := make([]byte, Unit)
	n := copy(block, b.String())
	for i := n; i < BlockSize; i++ {
		block[i] = '#'
	}
	return block, nil
}

// Values is Encode for a block of any keys, in their order.
func Values(v map[string]string) ([]byte, error) {
	var pairs []pair
	for _, k := range slices.Sorted(maps.Keys(v)) {
		pairs = append(pairs, pair{k, v[k]})
	}
	return encode(pairs)
}

// Decode reads the keys of an environment block as GRUB does.
func Decode(block []byte) (map[string]string, error) {
	if len(block) > BlockSize {
		block = block[:BlockSize]
	}
	text, ok := strings.CutPrefix(string(block), header)
	if !ok {
		return nil, errors.New("it is no environment block")
	}
	values := make(map[string]string)
	for text != "" {
		var line strings.Builder
		i := 0
		for ; i < len(text) && text[i] != '\n'; i++ {
			if text[i] == '\\' && i+1 < len(text) {
				i++
			}
			line.WriteByte(text[i])
		}
		text = text[min(i+1, len(text)):]
		// Lines with # are comments; a last line without end is filling.
		if key, value, found := strings.Cut(line.String(), "="); found && key[:min(1, len(key))] != "#" {
			values[key] = value
		}
	}
	return values, nil
}
