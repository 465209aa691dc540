package preload

import (
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
	"strings"
)

// stampSuffix marks the file beside an archive that says what was loaded, and
// where to.
const stampSuffix = ".done"

// Archives loads the image archives that people put into dir, as `docker save`
// makes them, compressed or not: each once per content and per store, whose
// name changes when its images are thrown away. One that cannot be loaded is
// told and tried again at the next boot. It returns how many were loaded.
func Archives(ctx context.Context, store Store, storeID, dir string, log *slog.Logger) (loaded int, err error) {
	entries, err := os.ReadDir(dir)
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
		path := filepath.Join(dir, e.Name())
		did, err := loadOnce(ctx, store, storeID, path)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("preload %s: %w", path, err))
		case did:
			loaded++
			log.Info("images preloaded", "archive", path)
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

func loadOnce(ctx context.Context, store Store, storeID, path string) (loaded bool, err error) {
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
	old, err := os.ReadFile(path + stampSuffix)
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
			return false, stamp(path, storeID, marks, digest)
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return false, err
		}
		sum.Reset()
	}
	if err := store.LoadImage(ctx, in); err != nil {
		return false, err
	}
	if _, err := io.Copy(io.Discard, in); err != nil {
		return true, err
	}
	return true, stamp(path, storeID, marks, hex.EncodeToString(sum.Sum(nil)))
}

// stamp is written after the images are in the store, not before.
func stamp(path, storeID, marks, digest string) error {
	temp := path + stampSuffix + ".new"
	if err := os.WriteFile(temp, []byte(storeID+"\n"+marks+"\n"+digest+"\n"), 0o644); err != nil {
		return err
	}
	return os.Rename(temp, path+stampSuffix)
}
