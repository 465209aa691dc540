// Package initramfs writes the initial RAM file system: /init, the modules it
// may need, and for network boot the root image.
package initramfs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/u-root/u-root/pkg/cpio"

	"github.com/bulkhead-os/bulkhead/internal/fsverity"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/iso/kernel"
	"github.com/bulkhead-os/bulkhead/iso/tools"
)

// level is zstd's: the kernel unpacks all levels at the same speed.
const level = "-19"

// Write writes the initramfs that the medium carries: two archives, each
// compressed, which the kernel unpacks one after the other. The modules' is
// the slow one to make and kept in the folder cache. The initramfs knows the
// digest of its root image.
func Write(ctx context.Context, file, cache, initBinary, rootImage string, k *kernel.Kernel, ts *tools.Tools) error {
	modules, err := moduleRecords(k)
	if err != nil {
		return fmt.Errorf("initramfs: %w", err)
	}
	packed, err := cached(ctx, cache, modules, ts)
	if err != nil {
		return fmt.Errorf("initramfs: %w", err)
	}
	digest, err := digestOf(rootImage)
	if err != nil {
		return fmt.Errorf("initramfs: %w", err)
	}
	own, err := ownRecords(initBinary, digest)
	if err != nil {
		return fmt.Errorf("initramfs: %w", err)
	}
	if err := pack(ctx, file, own, ts); err != nil {
		return fmt.Errorf("initramfs: %w", err)
	}
	return appendFile(file, packed)
}

// pack writes the records as a compressed archive. One thread, so that the
// output depends on nothing but the input.
func pack(ctx context.Context, file string, records []cpio.Record, ts *tools.Tools) error {
	archive := file + ".cpio"
	defer os.Remove(archive)
	if err := writeCPIO(archive, records); err != nil {
		return err
	}
	return ts.Run(ctx, "zstd", "-q", "-f", level, "--single-thread", archive, "-o", file)
}

// cached packs the records, or finds them packed under a digest of their names
// and content.
func cached(ctx context.Context, dir string, records []cpio.Record, ts *tools.Tools) (string, error) {
	sum := sha256.New()
	fmt.Fprintln(sum, level)
	for _, r := range records {
		fmt.Fprintln(sum, r.Name, r.Mode, r.FileSize)
		if r.ReaderAt == nil {
			continue
		}
		if _, err := io.Copy(sum, io.NewSectionReader(r, 0, int64(r.FileSize))); err != nil {
			return "", err
		}
	}
	file := filepath.Join(dir, hex.EncodeToString(sum.Sum(nil))[:32]+".cpio.zst")
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	part := file + ".part"
	if err := pack(ctx, part, records, ts); err != nil {
		return "", err
	}
	return file, os.Rename(part, file)
}

// digestOf returns the fs-verity digest of a file in hexadecimal digits.
func digestOf(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	digest, err := fsverity.Of(f, info.Size())
	return hex.EncodeToString(digest[:]), err
}

func ownRecords(initBinary, digest string) ([]cpio.Record, error) {
	raw, err := os.ReadFile(initBinary)
	if err != nil {
		return nil, err
	}
	return []cpio.Record{
		// The kernel opens /dev/console before /init runs.
		cpio.Directory("dev", 0o755),
		cpio.CharDev("dev/console", 0o600, 5, 1),
		cpio.CharDev("dev/null", 0o666, 1, 3),
		cpio.Directory("proc", 0o555),
		cpio.Directory("sys", 0o555),
		cpio.Directory("run", 0o755),
		cpio.Directory("tmp", 0o1777),
		cpio.Directory("root", 0o700),
		cpio.StaticFile("init", string(raw), 0o755),
		cpio.Directory(strings.TrimPrefix(layout.Root, "/"), 0o755),
		cpio.StaticFile(strings.TrimPrefix(layout.RootDigest, "/"), digest+"\n", 0o644),
	}, nil
}

func moduleRecords(k *kernel.Kernel) ([]cpio.Record, error) {
	records := []cpio.Record{cpio.Directory("lib", 0o755), cpio.Directory("lib/modules", 0o755)}
	err := filepath.WalkDir(k.InitModules, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == k.InitModules {
			return err
		}
		rel, err := filepath.Rel(k.InitModules, p)
		if err != nil {
			return err
		}
		name := filepath.Join("lib/modules", rel)
		if d.IsDir() {
			records = append(records, cpio.Directory(name, 0o755))
			return nil
		}
		raw, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		records = append(records, cpio.StaticFile(name, string(raw), 0o644))
		return nil
	})
	return records, err
}

func appendFile(dst, src string) error {
	out, err := os.OpenFile(dst, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer out.Close()
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Close()
}

// writeCPIO writes the records without times, owners and inode numbers of the
// build machine.
func writeCPIO(file string, records []cpio.Record) error {
	for i := range records {
		records[i] = cpio.MakeReproducible(records[i])
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	w := cpio.Newc.Writer(f)
	if err := cpio.WriteRecords(w, records); err != nil {
		return err
	}
	if err := cpio.WriteTrailer(w); err != nil {
		return err
	}
	return f.Close()
}

// WriteNetboot writes an initramfs that has the whole OS: the files of the
// release, by their paths, in an archive of its own, then the medium's initramfs. The kernel unpacks one
// after the other; the first is plain and a multiple of four bytes, as its
// documentation (driver-api/early-userspace/buffer-format) asks for.
func WriteNetboot(file string, release map[string]string) error {
	var records []cpio.Record
	root := strings.TrimPrefix(layout.Root, "/")
	medium := strings.TrimPrefix(layout.NetbootDir, "/")
	for _, dir := range []string{root, medium, medium + "/boot", medium + "/bulkhead"} {
		records = append(records, cpio.Directory(dir, 0o755))
	}
	for _, path := range slices.Sorted(maps.Keys(release)) {
		raw, err := os.ReadFile(release[path])
		if err != nil {
			return err
		}
		name := filepath.Join(medium, path)
		records = append(records, cpio.StaticRecord(raw, cpio.Info{Name: name, Mode: cpio.S_IFREG | 0o644}))
	}
	if err := writeCPIO(file, records); err != nil {
		return fmt.Errorf("netboot initramfs: %w", err)
	}
	out, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer out.Close()
	end, err := out.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if _, err := out.Write(bytes.Repeat([]byte{0}, int((512-end%512)%512))); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	return appendFile(file, release[layout.InitramfsFile])
}
