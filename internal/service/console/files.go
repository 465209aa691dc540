package console

import (
	"bytes"
	"context"
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

// makeRunFiles makes what programs look for in /run, which is the host's.
func (c *console) makeRunFiles(context.Context) error {
	// sshd wants its directory to be root's alone.
	return os.MkdirAll("/run/sshd", 0o755)
}

// writeFiles writes the files of the configuration that are the console's, or
// that lie in a directory of the host; services find theirs there, too.
func (c *console) writeFiles(context.Context) error {
	before, _ := os.ReadFile(layout.UserDaemonConfig) // there may be none
	var errs []error
	for _, f := range c.cfg.WriteFiles {
		if f.Container != "console" && !onHost(string(f.Path)) {
			errs = append(errs, fmt.Errorf("%s: files of the service %s can be written below %s only; the rest of it is read-only",
				f.Path, f.Container, strings.Join(hostDirs, ", ")))
			continue
		}
		if err := writeFile("", f); err != nil {
			errs = append(errs, err)
		}
	}
	if after, err := os.ReadFile(layout.UserDaemonConfig); err == nil && !bytes.Equal(before, after) {
		// User Docker may have begun with the old one.
		errs = append(errs, os.WriteFile(layout.UserReload, nil, 0o600))
	}
	return errors.Join(errs...)
}

// hostDirs are the directories that the console has in common with the host,
// and so with services.
var hostDirs = []string{"/etc/docker", "/var/lib/rancher", "/var/log", "/home", "/opt", "/mnt", "/media"}

func onHost(path string) bool {
	return slices.ContainsFunc(hostDirs, func(dir string) bool { return strings.HasPrefix(path, dir+"/") })
}

// writeFile writes one file and the directories above it. root is "" on the
// running system.
func writeFile(root string, f osconfig.File) error {
	data, err := f.Bytes()
	if err != nil {
		return err
	}
	uid, gid, err := lookupOwner(string(f.Owner))
	if err != nil {
		return fmt.Errorf("owner of %s: %w", f.Path, err)
	}
	path := filepath.Join(root, string(f.Path))
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
