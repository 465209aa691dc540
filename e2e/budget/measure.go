package budget

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/bulkhead-os/bulkhead/e2e/qemutest"
)

// memoryMB and cpus are those of every machine that is measured.
const (
	memoryMB = 2048
	cpus     = 2
)

// idle is how long a machine rests before its memory is read.
const idle = 10 * time.Second

// Figures are one machine's.
type Figures struct {
	// Ready is the time from the kernel's start until Docker's API answers,
	// on two tiers the later of the two.
	Ready time.Duration
	// SystemReady is the same for system Docker alone, where there is one.
	SystemReady time.Duration
	// MemoryKB is MemTotal − MemAvailable after 10 s of rest.
	MemoryKB int
	// Configuration is zero for the peer.
	Configuration Configuration
}

// Report is one comparison.
type Report struct {
	ISOBytes   int64
	Ours, Peer Figures
}

// Compare measures an ISO and the peer, one after the other.
func Compare(ctx context.Context, iso string, peer Peer) (Report, error) {
	info, err := os.Stat(iso)
	if err != nil {
		return Report{}, err
	}
	r := Report{ISOBytes: info.Size()}
	if r.Ours, err = measure(ctx, func(ctx context.Context, dir string) (Figures, error) { return measureISO(ctx, dir, iso) }); err != nil {
		return r, err
	}
	r.Peer, err = measure(ctx, func(ctx context.Context, dir string) (Figures, error) { return measurePeer(ctx, dir, peer) })
	return r, err
}

// measure gives one measurement a directory and a limit.
func measure(ctx context.Context, one func(ctx context.Context, dir string) (Figures, error)) (Figures, error) {
	dir, err := os.MkdirTemp("", "budget-*")
	if err != nil {
		return Figures{}, err
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(ctx, qemutest.Scaled(2*time.Minute))
	defer cancel()
	return one(ctx, dir)
}

var readyLine = regexp.MustCompile(`bulkhead: ready in ([\d.]+) s \(system docker ([\d.]+) s, user docker ([\d.]+) s\)`)

// measureISO boots from CD-ROM with state in RAM, which counts as memory.
func measureISO(ctx context.Context, dir, iso string) (Figures, error) {
	key, err := qemutest.NewKey("budget")
	if err != nil {
		return Figures{}, err
	}
	seed := filepath.Join(dir, "seed.iso")
	userData := "#cloud-config\nssh_authorized_keys:\n  - " + key.Authorized + "\n"
	if err := (qemutest.Seed{Kind: qemutest.Config2, UserData: userData}).Write(ctx, seed); err != nil {
		return Figures{}, err
	}
	vm, err := qemutest.Start(ctx, dir, qemutest.Options{
		Name: "bulkhead", ISO: iso, MemoryMB: memoryMB, CPUs: cpus,
		Disks: []qemutest.Disk{{Path: seed, ReadOnly: true}},
	})
	if err != nil {
		return Figures{}, err
	}
	defer vm.Kill()
	m, err := vm.AwaitConsole("ready line", 60*time.Second, 0, readyLine)
	if err != nil {
		return Figures{}, err
	}
	f := Figures{SystemReady: seconds(m[2]), Ready: max(seconds(m[2]), seconds(m[3]))}
	if err := rest(ctx); err != nil {
		return f, err
	}
	client, err := vm.AwaitSSH(15*time.Second, qemutest.LoginKey("rancher", key))
	if err != nil {
		return f, err
	}
	defer client.Close()
	out, err := client.Run(ctx, `awk '/^MemTotal/ {t=$2} /^MemAvailable/ {a=$2} END {print t-a}' /proc/meminfo`, nil)
	if err != nil {
		return f, err
	}
	if f.MemoryKB, err = strconv.Atoi(strings.TrimSpace(out.Stdout)); err != nil {
		return f, err
	}
	f.Configuration, err = measureConfiguration(ctx, client)
	return f, err
}

// measurePeer boots the peer's kernel directly, which spares it the loader.
func measurePeer(ctx context.Context, dir string, p Peer) (Figures, error) {
	disk := filepath.Join(dir, "disk.qcow2")
	if err := qemutest.Overlay(ctx, disk, p.Disk, "raw"); err != nil {
		return Figures{}, err
	}
	vm, err := qemutest.Start(ctx, dir, qemutest.Options{
		Name: "peer", Medium: qemutest.Kernel, Kernel: p.Kernel, Initrd: p.Initrd, MemoryMB: memoryMB, CPUs: cpus,
		Append: "root=LABEL=PEER rw console=ttyS0 net.ifnames=0 quiet",
		Disks:  []qemutest.Disk{{Path: disk, Format: "qcow2"}},
	})
	if err != nil {
		return Figures{}, err
	}
	defer vm.Kill()
	m, err := vm.AwaitConsole("Docker of the peer", 90*time.Second, 0, regexp.MustCompile(`peer: ready in ([\d.]+) s`))
	if err != nil {
		return Figures{}, err
	}
	f := Figures{Ready: seconds(m[1])}
	m, err = vm.AwaitConsole("memory of the peer", 30*time.Second, 0, regexp.MustCompile(`peer: memory (\d+) kB`))
	if err != nil {
		return f, err
	}
	f.MemoryKB, err = strconv.Atoi(m[1])
	return f, err
}

// rest waits until the machine has been idle long enough.
func rest(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return fmt.Errorf("rest of %s: %w", idle, context.Cause(ctx))
	case <-time.After(idle):
		return nil
	}
}

func seconds(text string) time.Duration {
	s, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0 // the pattern lets only numbers through
	}
	return time.Duration(s * float64(time.Second))
}

// ReadyRatio is our time over the peer's, MemoryRatio the same for memory.
func (r Report) ReadyRatio() float64 { return float64(r.Ours.Ready) / float64(r.Peer.Ready) }

// MemoryRatio is our memory over the peer's.
func (r Report) MemoryRatio() float64 { return float64(r.Ours.MemoryKB) / float64(r.Peer.MemoryKB) }

// String is the report as a Markdown table, as docs/budgets.md has it.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintln(&b, "| | Bulkhead | Debian peer | Ratio |")
	fmt.Fprintln(&b, "|---|---|---|---|")
	fmt.Fprintf(&b, "| ISO, MB | %.1f | – | – |\n", float64(r.ISOBytes)/1e6)
	fmt.Fprintf(&b, "| kernel start → system Docker answers, s | %.1f | – | – |\n", r.Ours.SystemReady.Seconds())
	fmt.Fprintf(&b, "| kernel start → Docker answers, s | %.1f | %.1f | %.2f |\n", r.Ours.Ready.Seconds(), r.Peer.Ready.Seconds(), r.ReadyRatio())
	fmt.Fprintf(&b, "| memory in use, MB | %.0f | %.0f | %.2f |\n", float64(r.Ours.MemoryKB)/1024, float64(r.Peer.MemoryKB)/1024, r.MemoryRatio())
	c := r.Ours.Configuration
	fmt.Fprintf(&b, "| largest sample of a configuration, ms of CPU (on the host) | %.1f (%.1f) | – | – |\n", c.Sample.Seconds()*1000, c.HostSample.Seconds()*1000)
	fmt.Fprintf(&b, "| reading the configuration at boot, s | %.2f | – | – |\n", c.Boot.Seconds())
	return b.String()
}
