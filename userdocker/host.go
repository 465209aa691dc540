package userdocker

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/milestone"
	"github.com/bulkhead-os/bulkhead/internal/unixsocket"
)

const cgroupRoot = "/sys/fs/cgroup"

// engineCgroup is where containerd starts. Shims of any runtime inherit it, and so
// outlive the container of the engine. It is a leaf, since a cgroup that passes
// controllers on cannot hold processes.
const engineCgroup = layout.UserShimCgroup + "/engine"

// prepare creates what the read-only image cannot have: directories on the
// container's tmpfs and the usual path of the socket. It clears the milestones of
// an earlier engine of this boot.
func prepare() error {
	for _, dir := range []string{execRoot, containerdState, layout.UserRunDir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := errors.Join(milestone.UserConfigured.Clear(), milestone.UserWaiting.Clear()); err != nil {
		return err
	}
	err := os.Symlink(socketPath, layout.UserSocket)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// openEngineCgroup makes engineCgroup below the user tier's root and opens it
// for clone3(2). The caller closes it.
//
// An empty one is recreated: if cgroup.kill was ever written to, the kernel kills
// at once what is cloned into it, since it compares the counts of kills of the
// parent's cgroup and of the new one (seen on 6.18). One that cannot be removed
// holds shims, which were never killed.
func openEngineCgroup(root string) (*os.File, error) {
	dir := root + engineCgroup
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.EBUSY) {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	return os.Open(dir)
}

// allowForwarding turns IP forwarding on, as the nftables backend requires.
func allowForwarding() error {
	var errs []error
	for _, key := range []string{"ipv4/ip_forward", "ipv6/conf/default/forwarding", "ipv6/conf/all/forwarding"} {
		errs = append(errs, os.WriteFile("/proc/sys/net/"+key, []byte("1"), 0o644))
	}
	return errors.Join(errs...)
}

// listen opens the public socket at path for a group's members.
func listen(path, group string) (*net.UnixListener, error) {
	gid := 0
	if g, err := user.LookupGroup(group); err == nil {
		gid, err = strconv.Atoi(g.Gid)
		if err != nil {
			return nil, fmt.Errorf("group %s: %w", group, err)
		}
	} else if gid, err = strconv.Atoi(group); err != nil {
		return nil, fmt.Errorf("group: %q is not a group of the docker container", group)
	}
	return unixsocket.Listen(path, gid, 0o660)
}

// killLeftovers kills containers of the previous engine if this one should not or
// cannot take them over. (It cannot without the database: nothing else would ever
// stop them.) It returns how many cgroups it emptied.
func killLeftovers(root, dataRoot string, drain bool) (int, error) {
	if _, err := os.Stat(containerdDatabase(dataRoot)); !drain && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	return killUserTier(root)
}

// killUserTier kills what runs below the user tier's two cgroups.
func killUserTier(root string) (int, error) {
	n := 0
	var errs []error
	for _, parent := range []string{layout.UserCgroup, layout.UserShimCgroup} {
		dirs, err := filepath.Glob(root + parent + "/*/cgroup.events")
		if err != nil {
			return n, err
		}
		for _, events := range dirs {
			if populated(events) {
				n++
				errs = append(errs, os.WriteFile(filepath.Dir(events)+"/cgroup.kill", []byte("1"), 0))
			}
		}
	}
	return n, errors.Join(errs...)
}

// populated reads a cgroup.events file (cgroup-v2.rst, "populated").
func populated(events string) bool {
	raw, err := os.ReadFile(events)
	return err == nil && strings.Contains(string(raw), "populated 1")
}
