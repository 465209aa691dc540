package pid1

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-os/bulkhead/internal/layout"
)

// takeCtrlAltDel makes the kernel send the keys to PID 1 as SIGINT. Its
// default is to restart at once, without writing back anything.
func takeCtrlAltDel(context.Context) error {
	return unix.Reboot(unix.LINUX_REBOOT_CMD_CAD_OFF)
}

// Scores for the OOM killer. Children inherit their parent's; those of
// containers come from the container's own configuration.
const (
	oomEngine  = -999 // this process and containerd: everything hangs on them
	oomDefault = 0
)

func protectFromOOM(context.Context) error { return setOOMScore(os.Getpid(), oomEngine) }

func setOOMScore(pid, score int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), fmt.Append(nil, score), 0o644)
}

// maxFiles is for the daemon and containerd; containers get their own limit
// (see daemonDefaults).
const maxFiles = 1 << 20

// raiseLimits sets what systemd's docker.service sets: no limit for processes
// and core dumps. The open files are syscall's Setrlimit on purpose: after
// unix.Setrlimit, os/exec gives children the previous limit.
func raiseLimits(context.Context) error {
	unlimited := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	return errors.Join(
		syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: maxFiles, Max: maxFiles}),
		unix.Setrlimit(unix.RLIMIT_NPROC, &unlimited),
		unix.Setrlimit(unix.RLIMIT_CORE, &unlimited),
	)
}

// A sysctl is one kernel parameter, by its path below /proc/sys.
type sysctl struct{ name, value string }

// sysctls are what containers need from the kernel, and its defaults hardened
// where nothing of an ordinary workload notices. Configuration is applied
// later and wins.
var sysctls = []sysctl{
	// The machine routes for its containers; the firewall backend nftables
	// refuses to start without.
	{"net/ipv4/ip_forward", "1"},
	{"net/ipv6/conf/all/forwarding", "1"},
	// Each container takes keys and inotify instances of root's quota.
	{"kernel/keys/root_maxkeys", "1000000"},
	{"kernel/keys/root_maxbytes", "25000000"},
	{"fs/inotify/max_user_instances", "8192"},
	{"fs/inotify/max_user_watches", "524288"},
	{"kernel/pid_max", "4194304"},
	// The table of neighbours is one for all network namespaces: a container that
	// asks for every address of its network must not keep the machine from finding
	// its gateway.
	{"net/ipv4/neigh/default/gc_thresh1", "4096"},
	{"net/ipv4/neigh/default/gc_thresh2", "32768"},
	{"net/ipv4/neigh/default/gc_thresh3", "131072"},
	{"net/ipv6/neigh/default/gc_thresh1", "4096"},
	{"net/ipv6/neigh/default/gc_thresh2", "32768"},
	{"net/ipv6/neigh/default/gc_thresh3", "131072"},
	// Search engines and databases map many files.
	{"vm/max_map_count", "1048576"},
	// A dead PID 1 must not leave a dead machine: restart after 10 s.
	{"kernel/panic", "10"},
	// Says no quickly; see cmd/modprobe.
	{"kernel/modprobe", filepath.Join(layout.Root, "ros/lib/bulkhead/modprobe")},
	// The kernel runs this when hardware asks for a power-off (heat, UPS).
	{"kernel/poweroff_cmd", filepath.Join(layout.Root, "ros/sbin/poweroff")},
	{"fs/protected_symlinks", "1"},
	{"fs/protected_hardlinks", "1"},
	{"fs/protected_fifos", "2"},
	{"fs/protected_regular", "2"},
	{"kernel/kptr_restrict", "1"},
	{"kernel/dmesg_restrict", "1"},
	{"kernel/unprivileged_bpf_disabled", "1"},
	{"kernel/yama/ptrace_scope", "1"},
	{"kernel/perf_event_paranoid", "3"},
	{"net/core/bpf_jit_harden", "1"},
	{"dev/tty/ldisc_autoload", "0"},
	// After an oops nobody knows what still works: restart.
	{"kernel/panic_on_oops", "1"},
	// Packets with the address of another link are no answer to ours, and nobody
	// needs to hear of a better router.
	{"net/ipv4/conf/all/rp_filter", "2"},
	{"net/ipv4/conf/all/send_redirects", "0"},
	{"net/ipv4/conf/default/send_redirects", "0"},
}

func setSysctls(context.Context) error { return writeSysctls("/proc/sys", sysctls) }

// writeSysctls sets all it can. A parameter that this kernel does not have
// (IPv6 switched off) is no error.
func writeSysctls(dir string, list []sysctl) error {
	var errs []error
	for _, s := range list {
		// O_WRONLY alone: os.WriteFile would create a missing one elsewhere.
		f, err := os.OpenFile(filepath.Join(dir, s.name), os.O_WRONLY, 0)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			_, err = f.WriteString(s.value)
			f.Close()
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("sysctl %s=%s: %w", strings.ReplaceAll(s.name, "/", "."), s.value, err))
		}
	}
	return errors.Join(errs...)
}

// fairServers keep time for ordinary processes, one on each processor: of each
// second, so many nanoseconds that real-time processes do not get. It is the kernel's
// kernel/sched/debug.c that has them here.
const (
	fairServers = "/sys/kernel/debug/sched/fair_server/cpu*/runtime"
	fairTime    = 300 * time.Millisecond
)

// keepFairTime raises the kernel's 5 %: any container may have real-time processes
// (--ulimit rtprio). A kernel that is locked down, as under Secure Boot, refuses.
func keepFairTime(context.Context) error {
	files, err := filepath.Glob(fairServers)
	for _, file := range files {
		if e := os.WriteFile(file, fmt.Append(nil, fairTime.Nanoseconds()), 0); !errors.Is(e, os.ErrPermission) {
			err = errors.Join(err, e)
		}
	}
	return err
}
