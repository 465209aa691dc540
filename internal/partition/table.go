package partition

import (
	"fmt"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-os/bulkhead/internal/gpt"
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

// Path is the node of a disk's partition, or udev's link to it: /dev/sda1,
// /dev/nvme0n1p1, /dev/disk/by-id/x-part1.
func Path(disk, number string) string {
	last := disk[len(disk)-1]
	switch {
	case strings.HasPrefix(disk, "/dev/disk/"):
		disk += "-part"
	case '0' <= last && last <= '9':
		disk += "p"
	}
	return disk + number
}

// Add makes a partition known to the kernel; no table needs to name it. start
// and size are in bytes.
func Add(disk *os.File, number int, start, size int64) error {
	part := blkpgPartition{start: start, length: size, number: int32(number)}
	arg := blkpgArg{op: blkpgAddPartition, size: int32(unsafe.Sizeof(part)), data: unsafe.Pointer(&part)}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, disk.Fd(), blkpg, uintptr(unsafe.Pointer(&arg)))
	if errno != 0 {
		return fmt.Errorf("add partition %d to %s: %w", number, disk.Name(), errno)
	}
	return nil
}

// WriteTable writes a table to a disk of size bytes. The backup comes first and
// the first sector last, so that no cut between leaves a table that is half.
func WriteTable(disk *os.File, size int64, sector int, table gpt.Encoded) error {
	end := size / int64(sector) * int64(sector)
	for _, part := range []struct {
		at   int64
		data []byte
	}{
		{end - int64(len(table.Backup)), table.Backup},
		{int64(sector), table.Primary},
		{0, table.MBR},
	} {
		if _, err := disk.WriteAt(part.data, part.at); err != nil {
			return err
		}
		if err := disk.Sync(); err != nil {
			return err
		}
	}
	return nil
}
