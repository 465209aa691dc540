package qemutest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// A WriteLog is what a machine has written to a disk, in order (Disk.WriteLog).
// Cut makes the images that a power cut could have left behind. The format is
// that of the kernel's dm-log-writes: a head, and then for each request one
// sector that describes it, followed by its data.
type WriteLog struct {
	file    *os.File
	entries []logEntry
	end     int64 // of what has been read
	// base has all that the first done requests wrote.
	base string
	done int
}

type logEntry struct {
	Sector, Sectors, Flags, Size uint64
	data                         int64 // where in the log
}

const (
	logSector = 512
	logMagic  = 0x6a736677736872

	logFlush   = 1
	logFUA     = 2
	logDiscard = 4
)

// OpenWriteLog opens a log, which may still grow. base is a copy of the disk
// as it was when the machine started; Settle changes it.
func OpenWriteLog(path, base string) (*WriteLog, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	var head struct{ Magic, Version, Entries uint64 }
	if err := binary.Read(f, binary.LittleEndian, &head); err != nil || head.Magic != logMagic || head.Version != 1 {
		f.Close()
		return nil, errors.Join(fmt.Errorf("%s is no log of writes", path), err)
	}
	return &WriteLog{base: base, file: f, end: logSector}, nil
}

// Close closes the log.
func (l *WriteLog) Close() error { return l.file.Close() }

// Len reads on to the present end and returns the number of requests.
func (l *WriteLog) Len() (int, error) {
	for {
		sector := make([]byte, logSector)
		if _, err := l.file.ReadAt(sector, l.end); errors.Is(err, io.EOF) {
			return len(l.entries), nil
		} else if err != nil {
			return 0, err
		}
		e := logEntry{data: l.end + logSector}
		for i, field := range []*uint64{&e.Sector, &e.Sectors, &e.Flags, &e.Size} {
			*field = binary.LittleEndian.Uint64(sector[8*i:])
		}
		if e.Sectors == 0 && e.Flags == 0 {
			return len(l.entries), nil // the log has zeros from here on
		}
		l.entries = append(l.entries, e)
		l.end = e.data
		if e.Flags&logDiscard == 0 {
			l.end += int64(e.Sectors) * logSector
		}
	}
}

// Settle puts what is on the disk for good into the base, which makes later
// cuts cheaper. Only cuts after it can be made then.
func (l *WriteLog) Settle() error {
	n, err := l.Len()
	if err != nil {
		return err
	}
	safe := l.flushed(n)
	if err := l.replay(l.base, safe, func(_ int, size int64) int64 { return size }); err != nil {
		return err
	}
	l.done = max(l.done, safe)
	return nil
}

// Cut writes the image that a power cut after the first n requests could have
// left. What was written since the last flush was in the disk's cache: by dice,
// each such request is kept, lost, or torn between two sectors.
func (l *WriteLog) Cut(ctx context.Context, image string, n int, dice *rand.Rand) error {
	if err := CopyDisk(ctx, image, l.base); err != nil {
		return err
	}
	safe := l.flushed(n)
	return l.replay(image, n, func(i int, size int64) int64 {
		if i < safe || l.entries[i].Flags&logFUA != 0 {
			return size
		}
		return survives(size, dice)
	})
}

// flushed returns how many of the first n requests a flush has made last.
func (l *WriteLog) flushed(n int) int {
	for ; n > 0; n-- {
		if l.entries[n-1].Flags&logFlush != 0 {
			break
		}
	}
	return n
}

// replay does the requests up to n that the base has not, each to the extent
// that part says.
func (l *WriteLog) replay(image string, n int, part func(i int, size int64) int64) error {
	disk, err := os.OpenFile(image, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	for i := l.done; i < n; i++ {
		e := l.entries[i]
		if err := l.redo(disk, e, part(i, int64(e.Sectors)*logSector)); err != nil {
			disk.Close()
			return fmt.Errorf("replay request %d: %w", i, err)
		}
	}
	return disk.Close()
}

// survives returns how much of a write is on the disk after all.
func survives(size int64, dice *rand.Rand) int64 {
	switch roll := dice.Float64(); {
	case roll < 0.45:
		return 0
	case roll < 0.55 && size > logSector:
		return logSector * (1 + dice.Int64N(size/logSector-1))
	}
	return size
}

// redo repeats the first part of a request.
func (l *WriteLog) redo(disk *os.File, e logEntry, size int64) error {
	at := int64(e.Sector) * logSector
	if size == 0 {
		return nil
	}
	if e.Flags&logDiscard != 0 {
		return unix.Fallocate(int(disk.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, at, size)
	}
	_, err := io.Copy(io.NewOffsetWriter(disk, at), io.NewSectionReader(l.file, e.data, size))
	return err
}

// Ext4File returns a file of the ext4 file system in an image that a power cut
// left. The file system must be one that a mount mends without being asked.
func Ext4File(ctx context.Context, image, path string) ([]byte, error) {
	out, err := exec.CommandContext(ctx, "e2fsck", "-f", "-p", image).CombinedOutput()
	// 1: mended (e2fsck(8)).
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && !(ok && exit.ExitCode() == 1) {
		return nil, fmt.Errorf("e2fsck %s: %w: %s", image, err, out)
	}
	text, err := exec.CommandContext(ctx, "debugfs", "-R", "cat "+path, image).Output()
	if err != nil {
		return nil, fmt.Errorf("debugfs: %s in %s: %w", path, image, err)
	}
	return text, nil
}
