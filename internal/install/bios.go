package install

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Offsets of GRUB's boot sector and of the first sector of core.img
// (include/grub/i386/pc/boot.h in GRUB's source).
const (
	bootCodeSize    = 440 // up to the disk's signature and the partition table
	bootKernelAt    = 0x5c
	bootDriveCheck  = 0x66
	coreBlockList   = 0x1f4
	coreSegment     = 0x820
	biosSector      = 512
	nop             = 0x90
	bootSectorBytes = 512
)

// bootCode prepares GRUB's boot sector and its core.img for a core.img that
// begins at a sector. It returns the code of the master boot record.
func bootCode(bootSector, core []byte, at uint64) (code, patched []byte, err error) {
	if len(bootSector) != bootSectorBytes || len(core) < 2*biosSector {
		return nil, nil, fmt.Errorf("boot code: a boot sector of %d bytes, a core image of %d", len(bootSector), len(core))
	}
	code = bytes.Clone(bootSector[:bootCodeSize])
	binary.LittleEndian.PutUint64(code[bootKernelAt:], at)
	// Without the check the drive that firmware names is believed: some names
	// a wrong one, and then the check would not find the right one either.
	code[bootDriveCheck], code[bootDriveCheck+1] = nop, nop

	patched = make([]byte, (len(core)+biosSector-1)/biosSector*biosSector)
	copy(patched, core)
	rest := len(patched)/biosSector - 1
	binary.LittleEndian.PutUint64(patched[coreBlockList:], at+1)
	binary.LittleEndian.PutUint16(patched[coreBlockList+8:], uint16(rest))
	binary.LittleEndian.PutUint16(patched[coreBlockList+10:], coreSegment)
	return code, patched, nil
}
