package preload

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-os/bulkhead/internal/layout"
)

const (
	// UnpackProgram is the name by which this program unpacks an archive from its
	// standard input to its standard output: see Unpack.
	UnpackProgram = "unpack-archive"
	// unpackMemory has room for two windows: a compressed layer in a compressed
	// archive. Without swap, an xz archive that wants gigabytes ends there.
	unpackMemory = 320 * mib
	cgroupRoot   = "/sys/fs/cgroup"
)

// UnpackMain is the program UnpackProgram.
func UnpackMain(args []string) int {
	if err := unpackMain(args); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func unpackMain(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("usage: %s BYTES", UnpackProgram)
	}
	room, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return err
	}
	// Inherited from the OS tier's programs otherwise. In a shortage of the
	// machine this one ends first.
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0o644); err != nil {
		return err
	}
	debug.SetMemoryLimit(unpackMemory * 9 / 10)
	return Unpack(os.Stdout, os.Stdin, room)
}

// An Opener returns what an archive is without its compression. What is wrong
// with the archive comes from Read.
type Opener func(ctx context.Context, archive io.Reader) (io.ReadCloser, error)

// AsIs is the Opener for archives that the OS was shipped with, which have no
// compression.
func AsIs(_ context.Context, archive io.Reader) (io.ReadCloser, error) {
	return io.NopCloser(archive), nil
}

// Bounded returns an Opener that unpacks in a process of its own, with little
// memory, and not more than nine tenths of what is free on the file system of
// dir.
func Bounded(dir string) Opener {
	return func(ctx context.Context, archive io.Reader) (io.ReadCloser, error) {
		var fs unix.Statfs_t
		if err := unix.Statfs(dir, &fs); err != nil {
			return nil, fmt.Errorf("free space of %s: %w", dir, err)
		}
		group, err := unpackCgroup(cgroupRoot)
		if err != nil {
			return nil, err
		}
		defer group.Close()
		room := int64(fs.Bavail) / 10 * 9 * fs.Bsize
		cmd := exec.CommandContext(ctx, "/proc/self/exe", strconv.FormatInt(room, 10))
		cmd.Args[0] = UnpackProgram
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(group.Fd())}
		return startChild(cmd, archive)
	}
}

// unpackCgroup returns the cgroup of processes that unpack.
func unpackCgroup(root string) (*os.File, error) {
	dir := filepath.Join(root, layout.UnpackCgroup)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("limit the memory for archives: %w", err)
	}
	for file, value := range map[string]string{
		"memory.max": strconv.Itoa(unpackMemory), "memory.swap.max": "0", "pids.max": "64",
	} {
		err := os.WriteFile(filepath.Join(dir, file), []byte(value), 0o644)
		// A kernel without swap has no limit of it.
		if err != nil && (file != "memory.swap.max" || !errors.Is(err, os.ErrNotExist)) {
			return nil, fmt.Errorf("limit the memory for archives: %w", err)
		}
	}
	return os.Open(dir)
}

// A child is what a process that unpacks writes.
type child struct {
	io.ReadCloser
	cmd  *exec.Cmd
	said bytes.Buffer
	end  error // what Read returns once the process has ended
}

func startChild(cmd *exec.Cmd, archive io.Reader) (io.ReadCloser, error) {
	c := &child{cmd: cmd}
	cmd.Stdin, cmd.Stderr = archive, &c.said
	var err error
	if c.ReadCloser, err = cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	return c, nil
}

func (c *child) Read(p []byte) (int, error) {
	if c.end != nil {
		return 0, c.end
	}
	n, err := c.ReadCloser.Read(p)
	if err == nil {
		return n, nil
	}
	c.end = cmp.Or(c.wait(), io.EOF)
	return n, c.end
}

// wait waits for the process and says what was wrong.
func (c *child) wait() error {
	err := c.cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signal() == syscall.SIGKILL {
		return fmt.Errorf("unpack: %w: it takes more than %d MiB of memory; compress it again with a smaller window or dictionary", err, unpackMemory/mib)
	}
	if said := strings.TrimSpace(c.said.String()); said != "" {
		return errors.New(said)
	}
	return fmt.Errorf("unpack: %w", err)
}

// Close ends the process, if it has not ended.
func (c *child) Close() error {
	err := c.ReadCloser.Close()
	if c.end == nil {
		_ = c.cmd.Process.Kill() // It may just have ended.
		_ = c.wait()
		c.end = os.ErrClosed
	}
	if errors.Is(err, os.ErrClosed) { // by Wait
		return nil
	}
	return err
}
