// Package release is what a release of the OS is: the files of a system, the
// manifest that names them, and the signature of that. docs/upgrade.md describes
// the format. A release lies in a folder, on a web server, on the ISO and, once
// installed, in a slot, under the same names everywhere.
package release

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/bulkhead-os/bulkhead/internal/fsverity"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/work"
)

// format is the form of manifests that this package reads and writes.
const format = 1

// A Manifest names the files of a system.
type Manifest struct {
	Format  int    `json:"format"`
	Version string `json:"version"`
	// Serial is when the sources were committed, in seconds of Unix time: what
	// has a smaller one is older.
	Serial int64 `json:"serial"`
	// Arch is the processor that it is for, as Go calls it.
	Arch string `json:"arch"`
	// KernelLine is what the kernel is started with, before what a machine adds.
	KernelLine string `json:"kernel_line"`
	Files      []File `json:"files"`
}

// A File is one of a release.
type File struct {
	// Path is where it lies, relative to the manifest.
	Path   string `json:"path"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
	// Verity is the fs-verity digest that the initramfs holds the file to.
	Verity string `json:"verity,omitempty"`
}

// Needed are the files that each system has, in the order in which they are
// written: slot.cfg, by which GRUB knows a whole system, is the last.
func Needed() []string {
	return []string{layout.InitramfsFile, layout.KernelFile, layout.RootImage, layout.SlotConfig}
}

// Describe adds the needed files to a manifest. from says where each one is.
func (m Manifest) Describe(from func(path string) string) (Manifest, error) {
	m.Format, m.Files = format, nil
	for _, path := range Needed() {
		f, err := describe(path, from(path))
		if err != nil {
			return m, fmt.Errorf("release: %w", err)
		}
		m.Files = append(m.Files, f)
	}
	return m, nil
}

func describe(path, name string) (File, error) {
	f, err := os.Open(name)
	if err != nil {
		return File{}, err
	}
	defer f.Close()
	sum := sha256.New()
	size, err := io.Copy(sum, f)
	if err != nil {
		return File{}, err
	}
	file := File{Path: path, Size: size, SHA256: hex.EncodeToString(sum.Sum(nil))}
	if path == layout.RootImage {
		digest, err := fsverity.Of(io.NewSectionReader(f, 0, size), size)
		if err != nil {
			return File{}, err
		}
		file.Verity = hex.EncodeToString(digest[:])
	}
	return file, nil
}

// Encode returns the text of release.json, always the same for one manifest.
func (m Manifest) Encode() ([]byte, error) {
	text, err := json.MarshalIndent(m, "", "  ")
	return append(text, '\n'), err
}

// Parse reads release.json. Keys that it does not know are left out: what an
// older system must not ignore gets another format.
func Parse(text []byte) (Manifest, error) {
	var m Manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("%s: %w", layout.ReleaseFile, err)
	}
	if m.Format != format {
		return m, fmt.Errorf("%s has format %d, and this system knows %d: upgrade to a release between the two first", layout.ReleaseFile, m.Format, format)
	}
	for _, f := range m.Files {
		if err := f.check(); err != nil {
			return m, fmt.Errorf("%s: %w", layout.ReleaseFile, err)
		}
	}
	for _, path := range Needed() {
		if _, err := m.File(path); err != nil {
			return m, fmt.Errorf("%s: %w", layout.ReleaseFile, err)
		}
	}
	return m, nil
}

func (f File) check() error {
	if !filepath.IsLocal(f.Path) || f.Path != filepath.Clean(f.Path) {
		return fmt.Errorf("%q is no path below a folder", f.Path)
	}
	if sum, err := hex.DecodeString(f.SHA256); err != nil || len(sum) != sha256.Size || f.Size < 0 {
		return fmt.Errorf("%s has no size and digest", f.Path)
	}
	return nil
}

// File returns a file by its path.
func (m Manifest) File(path string) (File, error) {
	i := slices.IndexFunc(m.Files, func(f File) bool { return f.Path == path })
	if i < 0 {
		return File{}, fmt.Errorf("it names no %s", path)
	}
	return m.Files[i], nil
}

// Size is what all files have together.
func (m Manifest) Size() (total int64) {
	for _, f := range m.Files {
		total += f.Size
	}
	return total
}

// ErrDigest says that a file is not the one that the release names.
var ErrDigest = errors.New("it is not the file that the release names")

// Check compares the digest of a file that was read.
func (f File) Check(sum hash.Hash) error {
	if got := hex.EncodeToString(sum.Sum(nil)); got != f.SHA256 {
		return fmt.Errorf("%s: %w: its digest is %s, not %s", f.Path, ErrDigest, got, f.SHA256)
	}
	return nil
}

// Verify reads a file and compares its digest.
func (f File) Verify(ctx context.Context, from Source, meter *work.Meter) error {
	file, _, err := from.Open(ctx, f.Path, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, meter.Reader(ctx, file)); err != nil {
		return fmt.Errorf("%s: %w", f.Path, err)
	}
	return f.Check(sum)
}

// Errors by which a release is not for a machine.
var (
	ErrArch  = errors.New("it is for another kind of processor")
	ErrOlder = errors.New("it is older than the system that runs")
)

// Suits reports why a release is not for the machine that runs another one, if
// it is not.
func (m Manifest) Suits(running Manifest) error {
	switch {
	case m.Arch != running.Arch:
		return fmt.Errorf("%w: %s, and this machine has %s", ErrArch, m.Arch, running.Arch)
	case m.Serial < running.Serial:
		return fmt.Errorf("%w: %s has the serial %d, and %s has %d", ErrOlder, m.Version, m.Serial, running.Version, running.Serial)
	}
	return nil
}
