package userdocker

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// An inodeReserve is a directory of files without content. ext file systems have
// reserved blocks for an engine that starts when containers have filled the disk,
// but no reserved inodes: it gets those of the reserve.
type inodeReserve struct {
	dir  string
	full bool
	// free returns how many files can be made in the directory's file system.
	free func(dir string) (uint64, error)
}

// reservedInodes is what an engine needs to start with some hundred containers,
// plentyInodes how many are free before any is reserved.
const (
	reservedInodes = 512
	plentyInodes   = 16 * reservedInodes
)

func newInodeReserve(dataRoot string) *inodeReserve {
	return &inodeReserve{dir: filepath.Join(dataRoot, "bulkhead-reserve"), free: freeInodes}
}

// release gives the reserve back if hardly an inode is free.
func (r *inodeReserve) release() error {
	free, err := r.free(filepath.Dir(r.dir))
	if err != nil || free >= reservedInodes {
		return err
	}
	r.full = false
	return os.RemoveAll(r.dir)
}

// fill makes the reserve once there is plenty.
func (r *inodeReserve) fill() error {
	if r.full {
		return nil
	}
	free, err := r.free(filepath.Dir(r.dir))
	if err != nil || free < plentyInodes {
		return err
	}
	if err := os.Mkdir(r.dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	for i := range reservedInodes {
		f, err := os.OpenFile(filepath.Join(r.dir, fmt.Sprint(i)), os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		f.Close()
	}
	r.full = true
	return nil
}

// freeInodes is inodeReserve's free. A file system that makes inodes as they are
// needed has enough, and keeps none.
func freeInodes(dir string) (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, fmt.Errorf("statfs %s: %w", dir, err)
	}
	if s.Files == 0 {
		return reservedInodes, nil
	}
	return s.Ffree, nil
}
