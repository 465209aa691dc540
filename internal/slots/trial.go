package slots

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-os/bulkhead/internal/bootstate"
)

// Lock keeps others from changing the disk's systems until the file is closed.
func (d Disk) Lock() (*os.File, error) {
	f, err := os.Open(d.BootState().Device)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errors.New("another upgrade or rollback is at work: wait until it is done")
		}
		return nil, err
	}
	return f, nil
}

// read returns the boot state as it should be, and whether the disk has it so.
func (d Disk) read() (state bootstate.State, blocks bootstate.Blocks, kept bool, err error) {
	if blocks, err = d.BootState().Read(); err != nil {
		return state, blocks, false, err
	}
	state, why := blocks.Upkeep(d.Running)
	return state, blocks, why == "", nil
}

// MayFill reports why the slot that does not run must not be overwritten, if it
// must not.
func (d Disk) MayFill() error {
	state, _, _, err := d.read()
	switch {
	case err != nil:
		return err
	case state.Try == d.Running && state.Good != d.Running:
		return errors.New("the system that runs is on trial itself: wait until ros os list says that it is good")
	case state.Good != d.Running:
		return fmt.Errorf("the system in slot %s starts from the next boot on and would be overwritten: reboot first", state.Good)
	}
	return nil
}

// Clear makes sure that the slot that does not run does not start: it is about to
// be overwritten.
func (d Disk) Clear() error {
	state, _, kept, err := d.read()
	if err != nil || kept && state.Try == bootstate.None {
		return err
	}
	if kept {
		state.N++
		state.Try = bootstate.None
	}
	return d.BootState().Write(state)
}

// Keep makes the system that runs the good one.
func (d Disk) Keep() error {
	state, _, _, err := d.read()
	if err != nil {
		return err
	}
	state.N++
	state.Good, state.Try = d.Running, bootstate.None
	return d.BootState().Write(state)
}

// Arm has the slot that does not run start once, on trial, at the next boot. It
// returns the number of the trial.
func (d Disk) Arm() (uint64, error) {
	state, blocks, _, err := d.read()
	if err != nil {
		return 0, err
	}
	// GRUB must not take it for one that it has tried.
	counted, _ := bootstate.ParseTrials(blocks.Grub)
	state.N++
	state.ID = max(state.ID, counted.ID) + 1
	state.Good, state.Try, state.Max = d.Running, d.Running.Other(), 1
	return state.ID, d.BootState().Write(state)
}
