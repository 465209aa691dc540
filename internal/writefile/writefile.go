// Package writefile writes the files that a configuration asks for
// (write_files): whole at any moment, with owner and permissions. Where they
// belong is the caller's business.
package writefile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
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
// directories above it. It follows no link that others than root may have made.
func Write(path string, f osconfig.File) error {
	data, err := f.Bytes()
	if err != nil {
		return err
	}
	uid, gid, err := lookupOwner(string(f.Owner))
	if err != nil {
		return fmt.Errorf("owner of %s: %w", f.Path, err)
	}
	dir, own, err := openDir(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	// By its number it stays the directory that was opened.
	folder := fmt.Sprintf("/proc/self/fd/%d", dir.Fd())
	path = filepath.Join(folder, filepath.Base(path))
	if f.Append {
		flags := os.O_RDONLY
		if !own {
			flags |= unix.O_NOFOLLOW
		}
		old, err := read(path, flags)
		if errors.Is(err, unix.ELOOP) {
			return fmt.Errorf("append to %s: it is a link, where others than root may make one: take it away or name the file that it leads to", f.Path)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if bytes.HasSuffix(old, data) {
			return nil // an earlier boot has appended it
		}
		data = append(old, data...)
	}
	mode := fs.FileMode(f.Permissions)
	pending, err := renameio.NewPendingFile(path, renameio.WithTempDir(folder), renameio.WithStaticPermissions(0o600))
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

func read(path string, flags int) ([]byte, error) {
	f, err := os.OpenFile(path, flags, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// openDir opens a directory, and makes what is missing of it. own says that only
// this process's user or root may change what is in it; from where that is not
// so, links are not followed.
func openDir(path string) (dir *os.File, own bool, err error) {
	if dir, err = os.Open("/"); err != nil {
		return nil, false, err
	}
	own = true
	for _, name := range strings.FieldsFunc(filepath.Clean(path), func(r rune) bool { return r == '/' }) {
		next, err := openBelow(dir, name, own)
		if err := errors.Join(err, dir.Close()); err != nil {
			return nil, false, err
		}
		dir = next
		var info unix.Stat_t
		if err := unix.Fstat(int(dir.Fd()), &info); err != nil {
			return nil, false, errors.Join(err, dir.Close())
		}
		own = own && (info.Uid == 0 || int(info.Uid) == os.Getuid()) && info.Mode&0o022 == 0
	}
	return dir, own, nil
}

// openBelow opens a directory of dir, through a link if follow says so, and makes
// it if it is missing.
func openBelow(dir *os.File, name string, follow bool) (*os.File, error) {
	flags := unix.O_DIRECTORY | unix.O_CLOEXEC
	if !follow {
		flags |= unix.O_NOFOLLOW
	}
	path := filepath.Join(dir.Name(), name)
	fd, err := unix.Openat(int(dir.Fd()), name, flags, 0)
	if errors.Is(err, unix.ENOENT) {
		if err = unix.Mkdirat(int(dir.Fd()), name, 0o755); err == nil || errors.Is(err, unix.EEXIST) {
			fd, err = unix.Openat(int(dir.Fd()), name, flags, 0)
		}
	}
	switch {
	case err == nil:
		return os.NewFile(uintptr(fd), path), nil
	case !follow && (errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR)):
		return nil, fmt.Errorf("%s is no directory, or a link, where others than root may make one: take it away or name the directory that it leads to", path)
	}
	return nil, &fs.PathError{Op: "open", Path: path, Err: err}
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
