// Package loop makes a block device of a file.
package loop

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Attach makes a read-only device of a file and returns it, open. With
// unix.LO_FLAGS_AUTOCLEAR it goes when nobody has it open or mounted any more.
func Attach(file string, flags uint32) (*os.File, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
	if err != nil {
		return nil, fmt.Errorf("get a free loop device: %w", err)
	}
	backing, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer backing.Close()
	loop, err := os.Open(fmt.Sprintf("/dev/loop%d", n))
	if err != nil {
		return nil, err
	}
	config := &unix.LoopConfig{
		Fd:   uint32(backing.Fd()),
		Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_READ_ONLY | flags},
	}
	if err := unix.IoctlLoopConfigure(int(loop.Fd()), config); err != nil {
		loop.Close()
		return nil, fmt.Errorf("attach %s to %s: %w", file, loop.Name(), err)
	}
	return loop, nil
}
