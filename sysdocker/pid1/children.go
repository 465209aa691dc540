package pid1

import (
	"os/exec"
	"sync"
)

// children are the processes that this package starts and waits for; the
// reaper leaves them alone. The daemon's own are not known here.
type children struct {
	mu   sync.Mutex
	pids map[int]bool
}

func newChildren() *children { return &children{pids: make(map[int]bool)} }

// start starts cmd with the OOM score given.
func (c *children) start(cmd *exec.Cmd, oomScore int) error {
	// Held over the start, so that the reaper never sees a child that is not
	// in the list yet.
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := cmd.Start(); err != nil {
		return err
	}
	c.pids[cmd.Process.Pid] = true
	// Inherited from this process otherwise. It fails when the child has
	// ended already.
	_ = setOOMScore(cmd.Process.Pid, oomScore)
	return nil
}

// wait waits for a process that start started.
func (c *children) wait(cmd *exec.Cmd) error {
	err := cmd.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pids, cmd.Process.Pid)
	return err
}

func (c *children) has(pid int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pids[pid]
}
