// Package fsverity has the kernel check a file at each read against a tree of
// hashes (Documentation/filesystems/fsverity.rst), and computes the digest of
// that tree. It uses SHA-256, blocks of 4 KiB, no salt and no signature.
package fsverity

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Digest names the content of a file.
type Digest [sha256.Size]byte

const (
	blockSize    = 4096
	logBlockSize = 12
	algorithm    = 1 // FS_VERITY_HASH_ALG_SHA256
)

// Of computes the digest of a file of size bytes.
func Of(r io.Reader, size int64) (Digest, error) {
	root, err := treeRoot(r, size)
	if err != nil {
		return Digest{}, err
	}
	// struct fsverity_descriptor
	d := make([]byte, 256)
	d[0], d[1], d[2] = 1, algorithm, logBlockSize
	binary.LittleEndian.PutUint64(d[8:], uint64(size))
	copy(d[16:], root)
	return sha256.Sum256(d), nil
}

// treeRoot hashes the blocks, then blocks of those hashes, until one is left.
func treeRoot(r io.Reader, size int64) ([]byte, error) {
	if size == 0 {
		return nil, nil
	}
	level, err := hashBlocks(r)
	if err != nil {
		return nil, err
	}
	if want := (size + blockSize - 1) / blockSize * sha256.Size; int64(len(level)) != want {
		return nil, fmt.Errorf("fs-verity: the file does not have %d bytes", size)
	}
	for len(level) > sha256.Size {
		var next []byte
		for at := 0; at < len(level); at += blockSize {
			next = append(next, hashBlock(level[at:min(at+blockSize, len(level))])...)
		}
		level = next
	}
	return level, nil
}

func hashBlocks(r io.Reader) (hashes []byte, err error) {
	block := make([]byte, blockSize)
	for {
		n, err := io.ReadFull(r, block)
		if n > 0 {
			hashes = append(hashes, hashBlock(block[:n])...)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return hashes, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// hashBlock hashes a block, filled up with zeros.
func hashBlock(b []byte) []byte {
	var block [blockSize]byte
	copy(block[:], b)
	sum := sha256.Sum256(block[:])
	return sum[:]
}

// Enable makes a file read-only for ever and has each read checked. Nobody may
// have it open for writing.
func Enable(f *os.File) error {
	arg := unix.FsverityEnableArg{Version: 1, Hash_algorithm: algorithm, Block_size: blockSize}
	return ioctl(f, unix.FS_IOC_ENABLE_VERITY, unsafe.Pointer(&arg))
}

// Measure returns the digest that the kernel holds a file to. An error that is
// unix.ENODATA says that it checks nothing.
func Measure(f *os.File) (Digest, error) {
	var arg struct {
		algorithm, size uint16
		digest          Digest
	}
	arg.size = sha256.Size
	if err := ioctl(f, unix.FS_IOC_MEASURE_VERITY, unsafe.Pointer(&arg)); err != nil {
		return Digest{}, err
	}
	if arg.algorithm != algorithm {
		return Digest{}, fmt.Errorf("fs-verity: %s has a digest of another kind (%d)", f.Name(), arg.algorithm)
	}
	return arg.digest, nil
}

func ioctl(f *os.File, request uint, arg unsafe.Pointer) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), uintptr(request), uintptr(arg))
	if errno != 0 {
		return &os.PathError{Op: "fs-verity", Path: f.Name(), Err: errno}
	}
	return nil
}
