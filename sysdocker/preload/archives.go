package preload

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/renameio/v2"

	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/retry"
)

// stampSuffix marks the file that says what of an archive was loaded, and where
// to.
const stampSuffix = ".done"

// A Folder holds image archives that people put there.
type Folder struct {
	Name string // for people
	Dir  string
	// Stamps is the folder for what is remembered about each archive.
	Stamps string
}

// At returns the folder that remembers what was loaded beside the archives.
func At(dir string) Folder { return Folder{Name: dir, Dir: dir, Stamps: dir} }

// Empty reports whether there is nothing to load.
func (f Folder) Empty() bool {
	entries, err := os.ReadDir(f.Dir)
	return err != nil || len(entries) == 0
}

// A Daemon is a Store that knows its name.
type Daemon interface {
	Store
	Info(ctx context.Context) (dockerapi.Info, error)
}

// All loads the archives that people left for a daemon, in its folder of the
// state and on disks, and waits for the daemon if there are any.
//
// What is wrong with archives is left in the file problems, and an archive that
// has failed maxFailures times is not tried any more.
func All(ctx context.Context, d Daemon, open Opener, folder, problems string, log *slog.Logger) {
	folders := []Folder{At(filepath.Join(layout.PreloadDir, folder))}
	disks, err := Disks()
	if err != nil {
		log.Error("images are not preloaded", "err", err)
	}
	for _, d := range disks {
		defer d.Close()
		folders = append(folders, d.Folder(folder))
	}
	folders = slices.DeleteFunc(folders, Folder.Empty)
	pauses := retry.Backoff{First: time.Second, Last: 5 * time.Minute}
	for len(folders) > 0 {
		info, err := d.Info(ctx)
		if err == nil {
			var errs []error
			for _, f := range folders {
				_, err := Archives(ctx, d, info.ID, open, f, log)
				errs = append(errs, err)
			}
			if err := report(problems, errors.Join(errs...)); err != nil {
				log.Warn("problems of archives are not shown in ros status", "err", err)
			}
			return
		}
		log.Info("preload waits for the daemon", "folder", folder, "err", err)
		if retry.Sleep(ctx, pauses.Next()) != nil {
			return
		}
	}
}

// report writes what is wrong to a file, which is not there if nothing is.
func report(file string, problems error) error {
	if problems == nil {
		err := os.Remove(file)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return renameio.WriteFile(file, []byte(problems.Error()+"\n"), 0o644)
}

// Archives loads the archives in a folder, as `docker save` makes them,
// compressed or not: each once per content and per store, whose name changes
// when its images are thrown away. One that cannot be loaded is reported and tried
// again at the next boot, maxFailures times in all. It returns how many were loaded.
func Archives(ctx context.Context, store Store, storeID string, open Opener, f Folder, log *slog.Logger) (loaded int, err error) {
	entries, err := os.ReadDir(f.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, e := range entries { // sorted by name
		if !IsArchive(e.Name()) || e.IsDir() || ctx.Err() != nil {
			continue
		}
		archive := filepath.Join(f.Name, e.Name())
		did, err := loadOnce(ctx, store, storeID, open, filepath.Join(f.Dir, e.Name()), filepath.Join(f.Stamps, e.Name()))
		switch {
		case err != nil:
			log.Error("images are not preloaded", "archive", archive, "err", err)
			errs = append(errs, fmt.Errorf("preload %s: %w", archive, oneLine(err)))
		case did:
			loaded++
			log.Info("images preloaded", "archive", archive)
		}
	}
	return loaded, errors.Join(append(errs, ctx.Err())...)
}

// IsArchive tells by its name whether a file is an archive of images.
func IsArchive(name string) bool {
	for _, suffix := range []string{".tar", ".tgz", ".tar.gz", ".tar.zst", ".tzst", ".tar.xz"} {
		if strings.HasSuffix(name, suffix) && !strings.HasPrefix(name, ".") {
			return true
		}
	}
	return false
}

// loadOnce loads an archive unless it was before; notes is the beginning of the
// names of the files that remember it.
func loadOnce(ctx context.Context, store Store, storeID string, open Opener, path, notes string) (loaded bool, err error) {
	stampFile := notes + stampSuffix
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	if !info.Mode().IsRegular() {
		return false, errors.New("not a file")
	}
	// The file's own marks first: reading gigabytes takes a while.
	marks := fmt.Sprintf("%d %d", info.Size(), info.ModTime().UnixNano())
	old, err := os.ReadFile(stampFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	store0, rest, _ := strings.Cut(string(old), "\n")
	marks0, digest0, _ := strings.Cut(rest, "\n")
	if store0 == storeID && marks0 == marks {
		return false, nil
	}
	sum := sha256.New()
	// What the daemon does not read, as behind the end of an archive, counts too.
	in := io.TeeReader(f, sum)
	if store0 == storeID && strings.TrimSpace(digest0) != "" {
		if _, err := io.Copy(io.Discard, in); err != nil {
			return false, err
		}
		if digest := hex.EncodeToString(sum.Sum(nil)); digest == strings.TrimSpace(digest0) {
			return false, stamp(stampFile, storeID, marks, digest)
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return false, err
		}
		sum.Reset()
	}
	tries := failures{file: notes + failedSuffix, marks: marks}
	if err := tries.begin(); err != nil {
		return false, err
	}
	err = Open(ctx, open, in, func(plain io.Reader) error { return store.LoadImage(ctx, plain) })
	if err == nil {
		_, err = io.Copy(io.Discard, in)
	}
	if err := tries.end(ctx, err); err != nil {
		return false, err
	}
	return true, stamp(stampFile, storeID, marks, hex.EncodeToString(sum.Sum(nil)))
}

// Open calls load with an archive without its compression. What is wrong with
// the archive comes before what load makes of it.
func Open(ctx context.Context, open Opener, archive io.Reader, load func(plain io.Reader) error) error {
	plain, err := open(ctx, archive)
	if err != nil {
		return err
	}
	defer plain.Close()
	told := &lastError{Reader: plain}
	err = load(told)
	if err == nil {
		// What the daemon does not read, as behind the end.
		_, err = io.Copy(io.Discard, told)
	}
	// The daemon only knows that the archive has ended too soon.
	return cmp.Or(told.err, err)
}

// A lastError keeps what was wrong with reading.
type lastError struct {
	io.Reader
	err error
}

func (l *lastError) Read(p []byte) (int, error) {
	n, err := l.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		l.err = err
	}
	return n, err
}

// oneLine is for a file with one problem per line.
func oneLine(err error) error {
	if text := err.Error(); strings.Contains(text, "\n") {
		return errors.New(strings.ReplaceAll(text, "\n", " "))
	}
	return err
}

// stamp is written after the images are in the store, not before.
func stamp(file, storeID, marks, digest string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	temp := file + ".new"
	if err := os.WriteFile(temp, []byte(storeID+"\n"+marks+"\n"+digest+"\n"), 0o644); err != nil {
		return err
	}
	return os.Rename(temp, file)
}
