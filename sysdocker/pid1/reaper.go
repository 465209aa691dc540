package pid1

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// How long a zombie stays before it counts as an orphan. The process that started a
// child of this process waits for it; to reap it would steal its exit status.
// os/exec waits at once, but some of the daemon's code first reads the child's
// output to the end. Such a child is in this process's group, and orphans
// hardly ever are: shims and containers have their own.
const (
	reapAfter    = 2 * time.Second
	reapOwnAfter = time.Minute
)

// startReaper reaps the orphans that become children of PID 1: each container
// that ends leaves its shim. While no child has ended it does nothing.
func (s *system) startReaper(ctx context.Context) error {
	died := make(chan os.Signal, 1)
	signal.Notify(died, unix.SIGCHLD)
	s.guard("reaper", func() {
		r := reaper{proc: "/proc", self: os.Getpid(), group: unix.Getpgrp(), mine: s.children.has}
		again := false
		for {
			if !again {
				select {
				case <-ctx.Done():
					return
				case <-died:
				}
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(reapAfter):
			}
			// The parents of most have waited for them meanwhile.
			if again = childIsDead(); !again {
				continue
			}
			var err error
			if again, err = r.look(time.Now()); err != nil {
				s.log.Error("reap orphans", "err", err)
			}
		}
	})
	return nil
}

// A reaper remembers the zombies it has seen and since when.
type reaper struct {
	proc  string
	self  int
	group int
	mine  func(pid int) bool
	seen  map[zombie]time.Time
}

// The start time distinguishes a zombie from an earlier one with the same pid.
type zombie struct {
	pid   int
	group int
	start string // clock ticks since boot
}

// look reaps the zombies that have been there for long enough. It returns
// whether others are left to look after.
func (r *reaper) look(now time.Time) (bool, error) {
	zombies, err := zombiesOf(r.proc, r.self)
	if err != nil {
		return true, err
	}
	seen := make(map[zombie]time.Time)
	var errs []error
	for _, z := range zombies {
		if r.mine(z.pid) {
			continue
		}
		limit := reapAfter
		if z.group == r.group {
			limit = reapOwnAfter
		}
		since, ok := r.seen[z]
		switch {
		case !ok:
			seen[z] = now
		case now.Sub(since) < limit:
			seen[z] = since
		default:
			errs = append(errs, wait4(z.pid))
		}
	}
	r.seen = seen
	return len(seen) > 0, errors.Join(errs...)
}

// childIsDead reports whether there is a zombie to look for, which takes a look
// at each process of the machine.
func childIsDead() bool {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	return err == nil && info.Signo != 0
}

func wait4(pid int) error {
	for {
		_, err := unix.Wait4(pid, nil, unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.ECHILD): // someone else has waited
			return nil
		default:
			return err
		}
	}
}

// zombiesOf lists the dead children of process parent.
func zombiesOf(proc string, parent int) ([]zombie, error) {
	var zombies []zombie
	err := eachProcess(proc, func(p process) {
		if p.state == 'Z' && p.parent == parent {
			zombies = append(zombies, zombie{p.pid, p.group, p.start})
		}
	})
	return zombies, err
}

// A process is a line of /proc/PID/stat; see proc_pid_stat(5).
type process struct {
	pid    int
	state  byte
	parent int
	group  int
	kernel bool
	start  string
}

// eachProcess calls fn for every process that proc shows.
func eachProcess(proc string, fn func(process)) error {
	dir, err := os.Open(proc)
	if err != nil {
		return err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(0)
	if err != nil {
		return err
	}
	for _, name := range names {
		if name[0] < '0' || name[0] > '9' {
			continue
		}
		stat, err := os.ReadFile(filepath.Join(proc, name, "stat"))
		if err != nil {
			continue // it has ended
		}
		if p, ok := parseStat(stat); ok {
			fn(p)
		}
	}
	return nil
}

// pfKthread is the flag of kernel threads (PF_KTHREAD in include/linux/sched.h).
const pfKthread = 0x00200000

func parseStat(stat []byte) (process, bool) {
	// The second field is the program's name in parentheses and may hold
	// anything, parentheses and spaces too.
	open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if open < 1 || end < open {
		return process{}, false
	}
	f := bytes.Fields(stat[end+1:]) // from the third field on
	if len(f) < 20 {
		return process{}, false
	}
	pid, err1 := strconv.Atoi(string(bytes.TrimSpace(stat[:open])))
	parent, err2 := strconv.Atoi(string(f[1]))
	group, err3 := strconv.Atoi(string(f[2]))
	flags, err4 := strconv.ParseUint(string(f[6]), 10, 64)
	return process{
		pid:    pid,
		state:  f[0][0],
		parent: parent,
		group:  group,
		kernel: flags&pfKthread != 0,
		start:  string(f[19]),
	}, errors.Join(err1, err2, err3, err4) == nil
}
