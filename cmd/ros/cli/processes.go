package cli

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// unconfined is the security label of a process that no profile is for.
const unconfined = "unconfined"

// A kernel says what the processes of containers are, whatever a daemon was asked
// to make of them.
type kernel struct {
	proc, cgroups string // where it shows them
}

// A view is what the kernel says of a container. It is empty for one that does
// not run.
type view struct {
	// labels are the security labels of its processes, each once.
	labels []string
	// namespaces are those that its first process shares with PID 1, by their keys
	// in Compose.
	namespaces []string
}

// namespaceKeys are the keys in Compose of namespaces in /proc.
var namespaceKeys = map[string]string{"net": "network_mode", "pid": "pid", "ipc": "ipc", "uts": "uts", "cgroup": "cgroup"}

// look returns what the container is whose first process is pid.
func (k kernel) look(pid int) (v view, err error) {
	if pid == 0 {
		return view{}, nil
	}
	dir := filepath.Join(k.proc, strconv.Itoa(pid))
	for file, key := range namespaceKeys {
		machines, err := os.Readlink(filepath.Join(k.proc, "1/ns", file))
		if err != nil {
			return view{}, err
		}
		switch its, err := os.Readlink(filepath.Join(dir, "ns", file)); {
		case ended(err):
			return view{}, nil
		case err != nil:
			return view{}, err
		case its == machines:
			v.namespaces = append(v.namespaces, key)
		}
	}
	slices.Sort(v.namespaces)
	cgroup, err := os.ReadFile(filepath.Join(dir, "cgroup"))
	if err != nil {
		if ended(err) {
			err = nil
		}
		return view{}, err
	}
	_, path, _ := strings.Cut(strings.TrimSpace(string(cgroup)), "::")
	pids, err := k.members(filepath.Join(k.cgroups, path))
	if err != nil {
		return view{}, err
	}
	for _, pid := range pids {
		label, err := k.label(pid)
		if ended(err) {
			continue
		}
		if err != nil {
			return view{}, err
		}
		v.labels = append(v.labels, label)
	}
	slices.Sort(v.labels)
	v.labels = slices.Compact(v.labels)
	return v, nil
}

// members are the processes of a cgroup and of those below it.
func (k kernel) members(dir string) (pids []string, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == "cgroup.procs" {
			var list []byte
			list, err = os.ReadFile(path)
			pids = append(pids, strings.Fields(string(list))...)
		}
		if ended(err) || errors.Is(err, unix.EOPNOTSUPP) { // a cgroup of threads
			return nil
		}
		return err
	})
	return pids, err
}

// label is what confines a process, as the kernel says: "docker-default (enforce)".
func (k kernel) label(pid string) (string, error) {
	text, err := os.ReadFile(filepath.Join(k.proc, pid, "attr/current"))
	if errors.Is(err, unix.EINVAL) { // nothing in this kernel confines processes
		return unconfined, nil
	}
	return string(bytes.Trim(text, "\x00\n")), err
}

// ended reports whether err is about a process, or cgroup, that is no more.
func ended(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENODEV)
}
