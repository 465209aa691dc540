package pid1

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/tool"
)

// startHolder starts the process that holds the user tier's namespaces: PID 1
// of the PID namespace in which engines, shims and containers are, whichever
// engine runs. From within the namespace it cannot be killed, reboot(2) ends it
// and so the namespace, and then there is a new one.
//
// It does nothing: the kernel reaps children of a process that ignores SIGCHLD.
func (s *system) startHolder(context.Context) error {
	var err error
	s.holder, err = s.supervise(program{
		name: "user-tier",
		path: "/usr/bin/nsenter",
		args: []string{
			"--cgroup=" + layout.UserTierCgroups, "--",
			"/usr/bin/env", "--argv0=user-tier", "--ignore-signal=CHLD", "/usr/bin/sleep", "infinity",
		},
		namespaces: unix.CLONE_NEWPID | unix.CLONE_NEWIPC,
		oomScore:   oomEngine,
		stopSignal: unix.SIGKILL,
		stopLimit:  killLimit,
		started: func(pid int) error {
			return os.WriteFile(layout.UserTierHolder, fmt.Appendln(nil, pid), 0o644)
		},
	})
	return err
}

// holderPID is the number of the process that holds the user tier, or 0.
func (s *system) holderPID() int {
	text, err := os.ReadFile(layout.UserTierHolder)
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return pid
}

// makeCgroupNamespace makes the namespace in which the user tier's cgroup is the
// root, and keeps it in a file. The cgroup of the process that makes one becomes
// its root: PID 1 visits the user tier for it, once, while it is alone.
func makeCgroupNamespace(root, file string) (err error) {
	var fs unix.Statfs_t
	if unix.Statfs(file, &fs) == nil && fs.Type == unix.NSFS_MAGIC {
		return nil // of an earlier attempt
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		return err
	}
	if err := moveSelf(root + layout.UserTier); err != nil {
		return err
	}
	tool.OnOwnThread(func() {
		err = unix.Unshare(unix.CLONE_NEWCGROUP)
		if err == nil {
			err = unix.Mount("/proc/thread-self/ns/cgroup", file, "", unix.MS_BIND, "")
		}
	})
	return err
}

// moveSelf moves this process into a cgroup.
func moveSelf(dir string) error { return os.WriteFile(dir+"/cgroup.procs", []byte("0"), 0) }
