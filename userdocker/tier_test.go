package userdocker

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A process of the tier is in the namespaces of their holder, with /proc and
// cgroups as they show them, also when there is a new holder; this process and
// its mounts stay as they are.
func TestTier(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, for namespaces")
	}
	if _, err := os.Stat("/sys/fs/cgroup"); err != nil {
		t.Skip(err)
	}
	// Pdeathsig is about the thread that starts a process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	dir := t.TempDir()
	tier, err := newTier(filepath.Join(dir, "holder"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tier.enter(); err == nil {
		t.Error("without a holder: no error")
	}
	mounts := read(t, "/proc/self/mountinfo")
	for round := range 2 {
		holder := exec.Command("sleep", "60")
		holder.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWCGROUP, Pdeathsig: syscall.SIGKILL}
		if err := holder.Start(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(tier.file, fmt.Appendln(nil, holder.Process.Pid), 0o644); err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(dir, fmt.Sprint("out", round))
		ends := make(chan error, 10)
		p := &process{
			name: "sh", log: slog.New(slog.DiscardHandler), stopLimit: time.Second, enter: tier.enter,
			command: func(ctx context.Context) (*exec.Cmd, error) {
				return withUs(ctx, "/bin/sh", "-c", `set -e
{ echo $$; readlink /proc/self; tr '\0' ' ' </proc/1/cmdline; echo
stat -f -c %T /sys/fs/cgroup; cat /proc/self/cgroup | grep ^0:; readlink /proc/self/ns/ipc; } >`+out+`.new
mv `+out+`.new `+out+`; exec sleep 60`), nil
			},
			ended: func(err error, words string) { ends <- fmt.Errorf("%w: %s", err, words) },
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		stop := keep(ctx, p)
		for !exists(out) {
			select {
			case err := <-ends:
				t.Fatal(err)
			case <-time.After(10 * time.Millisecond):
			}
		}
		got := strings.Split(read(t, out), "\n")
		ipc, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/ipc", holder.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		if got[0] == "" || strings.TrimSpace(got[1]) == "" || got[2] != "sleep 60 " || got[3] != "cgroup2fs" || got[5] != ipc {
			t.Errorf("round %d: %q; want its own number, another, the holder, cgroup2fs, …, %s", round, got, ipc)
		}
		if own := fmt.Sprint(os.Getpid()); got[0] == own || strings.TrimSpace(read(t, "/proc/self/stat"))[:len(own)] != own {
			t.Errorf("round %d: this process is %s", round, own)
		}
		// All that is in the namespace ends with the holder.
		if err := holder.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = holder.Wait()
		select {
		case <-ends:
		case <-ctx.Done():
			t.Errorf("round %d: the process outlives the holder", round)
		}
		stop()
		cancel()
	}
	if got := read(t, "/proc/self/mountinfo"); got != mounts {
		t.Errorf("mounts of this process were\n%s\nand are\n%s", mounts, got)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
