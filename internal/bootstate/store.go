package bootstate

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A Store is the partition that holds the blocks.
type Store struct{ Device string }

// Read reads the blocks; one that cannot be read is nil.
func (s Store) Read() (Blocks, error) {
	f, err := os.Open(s.Device)
	if err != nil {
		return Blocks{}, err
	}
	defer f.Close()
	// What the boot loader wrote is not in a cache of an earlier boot's; what
	// another program has read may be.
	read := func(at int64) []byte {
		block := make([]byte, Unit)
		if _, err := f.ReadAt(block, at); err != nil {
			return nil
		}
		return block
	}
	return Blocks{OS1: read(OS1Offset), OS2: read(OS2Offset), Grub: read(GrubOffset), Cause: read(CauseOffset)}, nil
}

// Write writes a state: the first block is on the disk before the second is
// begun, so that one of them is whole at any moment.
func (s Store) Write(state State) error {
	block, err := state.Encode()
	if err != nil {
		return err
	}
	return s.write(block, OS1Offset, OS2Offset)
}

// Note writes down why the system in a slot, if it is on trial, does not work. The
// other one reads it.
func (s Store) Note(running Slot, cause string) error {
	blocks, err := s.Read()
	if err != nil {
		return err
	}
	state, err := blocks.Read()
	if err != nil || !state.OnTrial(running) {
		return err
	}
	block, err := Cause{state.ID, cause}.Encode()
	if err != nil {
		return err
	}
	return s.write(block, CauseOffset)
}

// write writes a block to one place after the other.
func (s Store) write(block []byte, places ...int64) error {
	f, err := os.OpenFile(s.Device, os.O_WRONLY|unix.O_DIRECT|unix.O_DSYNC, 0)
	if err != nil {
		return err
	}
	// O_DIRECT wants memory that is aligned as the disk is.
	page, err := unix.Mmap(-1, 0, Unit, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	copy(page, block)
	for _, at := range places {
		if _, err = f.WriteAt(page, at); err != nil {
			err = fmt.Errorf("boot state: %w", err)
			break
		}
	}
	return errors.Join(err, unix.Munmap(page), f.Close())
}

// Upkeep returns the state that a system that runs leaves behind it, and why it
// differs from what is on the disk; no reason means that all is as it should be.
func (b Blocks) Upkeep(running Slot) (State, string) {
	s, err := b.Read()
	_, first := ParseState(b.OS1)
	second, secondErr := ParseState(b.OS2)
	next := s
	next.N++
	switch {
	case err != nil:
		return State{N: 1, Good: running, Max: DefaultMax}, "both blocks were lost"
	case s.OnTrial(running.Other()) && running == s.Good:
		next.Try = None
		return next, s.ended(b)
	case first != nil || secondErr != nil:
		return next, "one block was lost"
	case second != s:
		return next, "the second block was older than the first"
	}
	return s, ""
}

// OnTrial reports whether the system in a slot is.
func (s State) OnTrial(slot Slot) bool { return s.Try == slot && s.Try != s.Good }

// Counted reports whether the boot loader has written down that the trial of a
// state was begun.
func (b Blocks) Counted(s State) bool {
	t, err := ParseTrials(b.Grub)
	return err == nil && t.ID == s.ID && t.Tries > 0
}

// ended says what became of a trial when the good system runs again.
func (s State) ended(b Blocks) string {
	if c, err := ParseCause(b.Cause); err == nil && c.ID == s.ID {
		return c.Text
	}
	if !b.Counted(s) {
		return fmt.Sprintf("the system in slot %s was not tried: the boot loader could not write that down", s.Try)
	}
	return fmt.Sprintf("the system in slot %s did not come up: its kernel cannot be used, ended in a panic or hung, or the machine lost its power", s.Try)
}
