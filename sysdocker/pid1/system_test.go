package pid1

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/sys/mountinfo"

	"github.com/bulkhead-os/bulkhead/images"
)

func TestWriteSysctls(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "there"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	err := writeSysctls(dir, []sysctl{{"there", "1"}, {"not/there", "1"}})
	if err != nil {
		t.Errorf("a parameter that the kernel does not have: %v", err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "there"))
	if err != nil || string(got) != "1" {
		t.Errorf("parameter is %q, %v; want 1", got, err)
	}
}

func TestLimits(t *testing.T) {
	const mib = 1 << 20
	tests := []struct {
		name       string
		machine    resources
		configured string
		want       map[string]string
	}{
		{name: "256 MiB less a third", machine: resources{memory: 256 * mib, threads: 10000},
			want: map[string]string{"/user-tier/memory.max": "178956971", "/user-tier/pids.max": "7500", "/user-tier/memory.swap.max": "0"}},
		{name: "1 GiB less 192 MiB", machine: resources{memory: 1024 * mib, threads: 10000},
			want: map[string]string{"/user-tier/memory.max": "872415232", "/system/memory.low": "201326592"}},
		{name: "2 GiB less a sixth", machine: resources{memory: 2048 * mib, swap: 1024 * mib, threads: 10000},
			want: map[string]string{"/user-tier/memory.max": "1789569707", "/user-tier/memory.swap.max": "805306368",
				"/system/memory.min": "178956970", "/system/memory.low": "357913941"}},
		{name: "8 GiB less 512 MiB", machine: resources{memory: 8192 * mib, threads: 10000},
			want: map[string]string{"/user-tier/memory.max": "8053063680"}},
		{name: "the configuration wins", machine: resources{memory: 2048 * mib, threads: 10000},
			configured: "memory.max 1073741824\npids.max 500\ncpu.weight 50\n",
			want: map[string]string{"/user-tier/memory.max": "1073741824", "/user-tier/pids.max": "500",
				"/user-tier/cpu.weight": "50", "/system/cpu.weight": "400"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := make(map[string]string)
			for _, l := range tt.machine.limits(parseTierSettings(tt.configured).limits) {
				got[l.cgroup+"/"+l.file] = l.value
			}
			for file, want := range tt.want {
				if got[file] != want {
					t.Errorf("%s = %s; want %s", file, got[file], want)
				}
			}
		})
	}
}

func TestParseTierSettings(t *testing.T) {
	for text, want := range map[string]tierSettings{
		"":        {limits: map[string]string{}, ports: []uint16{22}},
		"ports\n": {limits: map[string]string{}},
		"ports 22 2200 x\nos-disks\nio.weight 5\n": {limits: map[string]string{"io.weight": "5"}, ports: []uint16{22, 2200}, osDisks: true},
	} {
		if diff := cmp.Diff(want, parseTierSettings(text), cmp.AllowUnexported(tierSettings{})); diff != "" {
			t.Errorf("%q:\n%s", text, diff)
		}
	}
}

func TestReadResources(t *testing.T) {
	proc := t.TempDir()
	if err := os.MkdirAll(filepath.Join(proc, "sys/kernel"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"meminfo":                "MemTotal:        2030436 kB\nMemFree:  1 kB\nSwapTotal:  1024 kB\n",
		"sys/kernel/threads-max": "15000\n",
	} {
		if err := os.WriteFile(filepath.Join(proc, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := resources{memory: 2030436 << 10, swap: 1 << 20, threads: 15000}
	if got, err := readResources(proc); err != nil || got != want {
		t.Errorf("readResources() = %+v, %v; want %+v", got, err, want)
	}
}

func TestStopLimitIsTheSumOfTheServices(t *testing.T) {
	got := stopLimit([]images.Declaration{
		{Service: images.Service{StopGracePeriod: images.Duration(30 * time.Second)}},
		{}, // the default of 10 s
	})
	if want := 50 * time.Second; got != want {
		t.Errorf("stopLimit() = %s; want %s", got, want)
	}
}

func TestUnmountOrder(t *testing.T) {
	mounts := []*mountinfo.Info{
		{ID: 1, Parent: 0, Mountpoint: "/", FSType: "erofs"},
		{ID: 2, Parent: 1, Mountpoint: "/proc", FSType: "proc"},
		{ID: 3, Parent: 2, Mountpoint: "/proc/sys/fs/binfmt_misc", FSType: "binfmt_misc"},
		{ID: 4, Parent: 1, Mountpoint: "/dev", FSType: "devtmpfs"},
		{ID: 5, Parent: 1, Mountpoint: "/bulkhead/medium", FSType: "ext4"},
		{ID: 6, Parent: 1, Mountpoint: "/state", FSType: "ext4"},
		{ID: 7, Parent: 1, Mountpoint: "/var/lib", FSType: "ext4"},
		{ID: 8, Parent: 1, Mountpoint: "/tmp", FSType: "tmpfs"},
		{ID: 9, Parent: 8, Mountpoint: "/tmp/usb", FSType: "vfat"},
		{ID: 10, Parent: 7, Mountpoint: "/var/lib/a/merged", FSType: "overlay"},
		{ID: 11, Parent: 6, Mountpoint: "/state", FSType: "xfs"},
	}
	var got []string
	for _, m := range unmountOrder(mounts) {
		got = append(got, m.Mountpoint+" "+m.FSType)
	}
	want := []string{"/state xfs", "/var/lib/a/merged overlay", "/tmp/usb vfat", "/var/lib ext4", "/state ext4"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestParseStat(t *testing.T) {
	const rest = " 1 42 1 0 -1 4228364 0 0 0 0 0 0 0 0 20 0 1 0 12345 0 0"
	want := process{pid: 7, state: 'Z', parent: 1, group: 42, start: "12345"}
	for _, name := range []string{"sh", "a b", "x) S 1 (", ") Z 9"} {
		got, ok := parseStat([]byte("7 (" + name + ") Z" + rest))
		if !ok || got != want {
			t.Errorf("parseStat of %q = %+v, %v; want %+v", name, got, ok, want)
		}
	}
	kernel, ok := parseStat([]byte("2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 1 0 0"))
	if !ok || !kernel.kernel {
		t.Errorf("parseStat of kthreadd = %+v, %v; want a kernel thread", kernel, ok)
	}
	for _, bad := range []string{"", "7", "7 (sh", "7 (sh) Z", "x (sh) Z" + rest} {
		if p, ok := parseStat([]byte(bad)); ok {
			t.Errorf("parseStat(%q) = %+v; want none", bad, p)
		}
	}
}

func TestEarlyCounter(t *testing.T) {
	c := earlyCounter{limit: 3}
	var got []bool
	for _, served := range []bool{false, false, true, false, false, false, false} {
		got = append(got, c.ended(served))
	}
	if diff := cmp.Diff([]bool{false, false, false, false, false, true, false}, got); diff != "" {
		t.Error(diff)
	}
}

func TestProtectTurnsPanicsIntoErrors(t *testing.T) {
	err := protect(func() { var m map[string]int; m["x"] = 1 })
	if err == nil || !strings.Contains(err.Error(), "nil map") || !strings.Contains(err.Error(), "system_test.go") {
		t.Errorf("protect() = %v; want the panic and where it was", err)
	}
	if err := protect(func() {}); err != nil {
		t.Errorf("protect() = %v; want nil", err)
	}
}

// failing is a log file on a full disk.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }
func (failing) Close() error              { return nil }

func TestLogNeverFails(t *testing.T) {
	l := &logFile{w: failing{}}
	if n, err := l.Write([]byte("line\n")); n != 5 || err != nil {
		t.Errorf("Write() = %d, %v; want 5, nil", n, err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if n, err := l.Write([]byte("line\n")); n != 5 || err != nil {
		t.Errorf("Write() after Close = %d, %v; want 5, nil", n, err)
	}
}

func TestOutputNamesEachLine(t *testing.T) {
	var log bytes.Buffer
	o := &output{}
	o.copy("tool", bufio.NewReaderSize(strings.NewReader("one\n"+strings.Repeat("x", 20)+"\nlast"), 16), &log)
	want := "tool: one\ntool: xxxxxxxxxxxxxxxx\ntool: xxxx\ntool: last\n"
	if diff := cmp.Diff(want, log.String()); diff != "" {
		t.Error(diff)
	}
	if o.lastLine() != "last" {
		t.Errorf("lastLine() = %q; want last", o.lastLine())
	}
}

func TestInsistingHurriesTheEnd(t *testing.T) {
	tests := []struct {
		name  string
		pause time.Duration
		want  bool
	}{
		{"seven in two seconds", 250 * time.Millisecond, true},
		{"seven in a minute", 10 * time.Second, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := insistence{}
				got := false
				for range insistTimes {
					got = i.again(time.Now())
					time.Sleep(tt.pause)
				}
				if got != tt.want {
					t.Errorf("after %d orders: hurry = %v; want %v", insistTimes, got, tt.want)
				}
			})
		})
	}
}
