// Package unixsocket opens sockets that only some may use, from the first moment.
package unixsocket

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
)

// Listen opens a socket at path, in place of one that is there, for root and the
// group. Closing the listener leaves the file.
//
// It is created where only root has access, and moved once owner and mode are right.
// A umask would do the same, but applies to the whole process: what that starts
// meanwhile would inherit it.
func Listen(path string, gid int, mode fs.FileMode) (*net.UnixListener, error) {
	private, err := os.MkdirTemp(filepath.Dir(path), ".socket-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(private)
	bound := filepath.Join(private, "bound")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: bound, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	if err := errors.Join(os.Chown(bound, os.Getuid(), gid), os.Chmod(bound, mode), os.Rename(bound, path)); err != nil {
		return nil, fmt.Errorf("socket %s: %w", path, errors.Join(err, l.Close()))
	}
	return l, nil
}
