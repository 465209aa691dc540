// Package writefile writes the files that a configuration asks for
// (write_files): whole at any moment, with owner and permissions. Where they
// belong is the caller's business.
package writefile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"github.com/bulkhead-os/bulkhead/internal/layout"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

// OnHost reports whether a path lies in a directory that the console has in common
// with the host, so that the console writes the file for every service.
func OnHost(path string) bool {
	dirs := append(layout.SharedDirs(), "/etc/docker", "/var/lib/rancher", "/var/log")
	return slices.ContainsFunc(dirs, func(dir string) bool { return strings.HasPrefix(path, dir+"/") })
}

// Write writes one file to path, in place of the one that f names, and the
// directories above it.
func Write(path string, f osconfig.File) error {
	data, err := f.Bytes()
	if err != nil {
		return err
	}
	uid, gid, err := lookupOwner(string(f.Owner))
	if err != nil {
		return fmt.Errorf("owner of %s: %w", f.Path, err)
	}
	if f.Append {
		old, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if bytes.HasSuffix(old, data) {
			return nil // an earlier boot has appended it
		}
		data = append(old, data...)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	mode := fs.FileMode(f.Permissions)
	pending, err := renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path)), renameio.WithStaticPermissions(0o600))
	if err != nil {
		return err
	}
	defer pending.Cleanup() //nolint:errcheck // what is left is a temporary file
	if _, err := pending.Write(data); err != nil {
		return err
	}
	// Owner first: chown takes set-uid bits away.
	if err := pending.Chown(uid, gid); err != nil {
		return err
	}
	// Not Chmod, whose bits above 0777 are Go's, not Unix's.
	if err := unix.Fchmod(int(pending.Fd()), uint32(mode)); err != nil {
		return fmt.Errorf("permissions of %s: %w", f.Path, err)
	}
	err = pending.CloseAtomicallyReplace()
	if errors.Is(err, unix.EBUSY) {
		// A file that is a mount point, such as /etc/hosts, can only be overwritten.
		return os.WriteFile(path, data, mode.Perm())
	}
	return err
}

// lookupOwner reads "user", "user:group" or numbers in place of names. Without
// a group it is the user's.
func lookupOwner(owner string) (uid, gid int, err error) {
	name, group, hasGroup := strings.Cut(owner, ":")
	if uid, err = strconv.Atoi(name); err != nil {
		u, err := user.Lookup(name)
		if err != nil {
			return 0, 0, err
		}
		if uid, err = strconv.Atoi(u.Uid); err != nil {
			return 0, 0, err
		}
		if gid, err = strconv.Atoi(u.Gid); err != nil {
			return 0, 0, err
		}
	}
	if !hasGroup || group == "" {
		return uid, gid, nil
	}
	if gid, err = strconv.Atoi(group); err == nil {
		return uid, gid, nil
	}
	g, err := user.LookupGroup(group)
	if err != nil {
		return 0, 0, err
	}
	gid, err = strconv.Atoi(g.Gid)
	return uid, gid, err
}
