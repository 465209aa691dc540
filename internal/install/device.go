package install

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// From linux/blkpg.h.
const (
	blkpg             = 0x1269
	blkpgAddPartition = 1
)

// blkpgPartition is struct blkpg_partition of linux/blkpg.h, in bytes.
type blkpgPartition struct {
	start, length int64
	number        int32
	_             [64 + 64]byte
	_             [4]byte
}

type blkpgArg struct {
	op, flags, size int32
	_               int32
	data            unsafe.Pointer
}

// addPartition makes a partition known to the kernel; no table needs to name it.
func addPartition(disk *os.File, number int, start, size int64) error {
	part := blkpgPartition{start: start, length: size, number: int32(number)}
	arg := blkpgArg{op: blkpgAddPartition, size: int32(unsafe.Sizeof(part)), data: unsafe.Pointer(&part)}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, disk.Fd(), blkpg, uintptr(unsafe.Pointer(&arg)))
	if errno != 0 {
		return fmt.Errorf("add partition %d to %s: %w", number, disk.Name(), errno)
	}
	return nil
}

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
