package install

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// rereadTable has the kernel forget the partitions that the table has no more.
func rereadTable(disk *os.File) error {
	if err := unix.IoctlSetInt(int(disk.Fd()), unix.BLKRRPART, 0); err != nil {
		return fmt.Errorf("read the partition table of %s again: %w", disk.Name(), err)
	}
	return nil
}

// zero overwrites a range of a device.
func zero(f *os.File, at, size int64) error {
	chunk := make([]byte, min(size, 1<<20))
	for done := int64(0); done < size; {
		n, err := f.WriteAt(chunk[:min(int64(len(chunk)), size-done)], at+done)
		if err != nil {
			return err
		}
		done += int64(n)
	}
	return nil
}
