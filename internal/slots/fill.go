package slots

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-os/bulkhead/internal/fsverity"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/partition"
	"github.com/bulkhead-os/bulkhead/internal/release"
	"github.com/bulkhead-os/bulkhead/internal/tool"
	"github.com/bulkhead-os/bulkhead/internal/work"
)

// A Filling puts a release into a slot that nothing runs from. Installation and
// upgrade do it with the same steps: Write, then Finish.
type Filling struct {
	release.Release
	// Device is the slot's partition, and Dir a directory to mount it on.
	Device, Dir string
	// Tool puts what runs Debian's programs in front of their command line.
	Tool  []string
	Meter *work.Meter
	// Seal is SealFile, but in tests on a kernel that cannot.
	Seal func(file, digest string) error
}

const slotFS = "ext4"

// Write puts all files but slot.cfg into the slot. If an earlier attempt at the
// same release was cut off, it goes on from there.
func (f Filling) Write(ctx context.Context) error {
	f.Meter.Expect(f.Size())
	if f.begun(ctx) {
		err := f.fill(ctx)
		if !errors.Is(err, errLeftover) {
			return err
		}
		f.Meter.Expect(f.Size())
	}
	// Nobody ever writes to it while it is in use: a journal would only be
	// replayed, and so written, by a system that mounts it.
	mkfs := []string{"/usr/sbin/mkfs.ext4", "-q", "-F", "-b", "4096", "-m", "0", "-O", "verity,^has_journal", f.Device}
	if err := tool.Run(ctx, "", slices.Concat(f.Tool, mkfs)...); err != nil {
		return err
	}
	return f.fill(ctx)
}

// begun reports whether the slot has files of the same release. Without a
// journal, what was cut off has to be repaired first.
func (f Filling) begun(ctx context.Context) bool {
	same := func(dir string) error {
		text, err := os.ReadFile(filepath.Join(dir, layout.ReleaseFile))
		if err == nil && !bytes.Equal(text, f.Text) {
			err = errLeftover
		}
		return err
	}
	if look(f.Device, f.Dir, same) != nil {
		return false
	}
	fsck := []string{"/usr/sbin/e2fsck", "-f", "-p", f.Device}
	return tool.Run(ctx, "", slices.Concat(f.Tool, fsck)...) == nil
}

// errLeftover says that what an earlier attempt has left is of no use.
var errLeftover = errors.New("the slot has something else")

func (f Filling) fill(ctx context.Context) error {
	return partition.Mounted(f.Device, slotFS, f.Dir, unix.MS_NOATIME, func(dir string) error {
		// The slot is whole no more, or not yet.
		if err := os.Remove(filepath.Join(dir, layout.SlotConfig)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		for name, text := range map[string][]byte{layout.ReleaseSignature: f.Signature, layout.ReleaseFile: f.Text} {
			if err := partition.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
				return err
			}
		}
		for _, file := range f.Files {
			if file.Path == layout.SlotConfig {
				continue
			}
			if err := f.copy(ctx, file, filepath.Join(dir, file.Path)); err != nil {
				return fmt.Errorf("%s: %w", file.Path, err)
			}
			if file.Verity == "" {
				continue
			}
			if err := f.Seal(filepath.Join(dir, file.Path), file.Verity); err != nil {
				return err
			}
		}
		return nil
	})
}

// copy writes a file of the release, from where an earlier attempt has left it.
func (f Filling) copy(ctx context.Context, file release.File, to string) error {
	sum := sha256.New()
	have, err := f.hash(ctx, to, sum)
	switch {
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return err
	case have < file.Size:
		if err := f.rest(ctx, file, to, have, sum); err != nil {
			return err
		}
	}
	if err := file.Check(sum); err != nil {
		if have > 0 {
			err = errors.Join(errLeftover, err)
		}
		return err
	}
	return nil
}

// rest gets what a file lacks.
func (f Filling) rest(ctx context.Context, file release.File, to string, have int64, sum hash.Hash) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	from, _, err := f.Source.Open(ctx, file.Path, have)
	if err != nil {
		return err
	}
	defer from.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	// Not more than the release says: the slot has no room for what somebody
	// else wants to send.
	n, err := io.Copy(io.MultiWriter(out, sum), io.LimitReader(f.Meter.Reader(ctx, from), file.Size-have))
	if err == nil && have+n < file.Size {
		err = fmt.Errorf("it ends after %d bytes, and the release says %d: get it again", have+n, file.Size)
	}
	// What has come so far is there for another attempt.
	return errors.Join(err, out.Sync(), out.Close())
}

// hash reads what there is of a file.
func (f Filling) hash(ctx context.Context, name string, sum hash.Hash) (int64, error) {
	file, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	return io.Copy(sum, f.Meter.Reader(ctx, file))
}

// SealFile has the kernel check each read of a file against a digest.
func SealFile(name, digest string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := fsverity.Enable(f); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	got, err := fsverity.Measure(f)
	if err == nil && hex.EncodeToString(got[:]) != digest {
		err = fmt.Errorf("%s: %w: its fs-verity digest is %x", name, release.ErrDigest, got)
	}
	return err
}

// Finish reads back what was written, from the disk, and declares the slot whole.
func (f Filling) Finish(ctx context.Context) error {
	f.Meter.Expect(f.Size())
	if err := partition.DropCache(f.Device); err != nil {
		return err
	}
	err := partition.Mounted(f.Device, slotFS, f.Dir, partition.ReadOnly, func(dir string) error {
		return f.verify(ctx, dir)
	})
	if err != nil {
		return fmt.Errorf("it is not as it was written, the disk is broken: %w", err)
	}
	file, err := f.File(layout.SlotConfig)
	if err != nil {
		return err
	}
	return partition.Mounted(f.Device, slotFS, f.Dir, unix.MS_NOATIME, func(dir string) error {
		return f.copy(ctx, file, filepath.Join(dir, file.Path))
	})
}

// verify compares all files but slot.cfg with their digests.
func (f Filling) verify(ctx context.Context, dir string) error {
	for _, file := range f.Files {
		if file.Path == layout.SlotConfig {
			continue
		}
		if err := file.Verify(ctx, release.Folder(dir), f.Meter); err != nil {
			return err
		}
	}
	return nil
}
