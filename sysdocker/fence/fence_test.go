package fence

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestDevices(t *testing.T) {
	root := t.TempDir()
	write := func(path, text string) {
		t.Helper()
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	link := func(to, path string) {
		t.Helper()
		path = filepath.Join(root, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.Symlink(filepath.Join(root, to), path)); err != nil {
			t.Fatal(err)
		}
	}
	write("proc/self/mountinfo", `22 1 0:5 / /dev rw - devtmpfs none rw
23 1 8:2 / /state rw - ext4 /dev/sda2 rw
24 1 254:0 / /data rw - ext4 /dev/mapper/data rw
25 1 8:33 / /mnt/films rw - ext4 /dev/sdc1 rw
26 1 0:31 / /state/x rw - tmpfs none rw
`)
	write("sys/devices/sda/dev", "8:0\n")
	write("sys/devices/sda/sda1/dev", "8:1\n")
	write("sys/devices/sda/sda1/partition", "1\n")
	write("sys/devices/sda/sda2/dev", "8:2\n")
	write("sys/devices/sda/sda2/partition", "2\n")
	write("sys/devices/sda/device/scsi_generic/sg0/dev", "21:0\n")
	write("sys/devices/sda/device/bsg/0:0:0:0/dev", "244:0\n")
	write("sys/devices/dm-0/dev", "254:0\n")
	write("sys/devices/nvme0n1/dev", "259:0\n")
	write("sys/devices/nvme0n1/nvme0n1p1/dev", "259:1\n")
	write("sys/devices/nvme0n1/nvme0n1p1/partition", "1\n")
	write("sys/devices/nvme0n1/device/dev", "241:0\n")
	write("sys/devices/nvme0n1/device/ng0n1/dev", "242:0\n")
	write("sys/class/watchdog/watchdog0/dev", "245:0\n")
	link("sys/devices/sda/sda2", "sys/dev/block/8:2")
	link("sys/devices/dm-0", "sys/dev/block/254:0")
	link("sys/devices/nvme0n1/nvme0n1p1", "sys/devices/dm-0/slaves/nvme0n1p1")

	character := []Device{{Major: 1, Minor: 1}, {Major: 1, Minor: 4}, {Major: 10, Minor: 130}, {Major: 245, Minor: 0}}
	got, err := Devices(root, false, "/state")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(character, got); diff != "" {
		t.Errorf("without disks:\n%s", diff)
	}
	got, err = Devices(root, true, "/state", "/data", "/bulkhead/medium")
	if err != nil {
		t.Fatal(err)
	}
	want := []Device{
		{Major: 1, Minor: 1}, {Major: 1, Minor: 4}, {Major: 10, Minor: 130},
		{Major: 21, Minor: 0}, {Major: 241, Minor: 0}, {Major: 242, Minor: 0}, {Major: 244, Minor: 0}, {Major: 245, Minor: 0},
		{Block: true, Major: 254, Minor: 0}, {Block: true, Major: 259, Minor: 0}, {Block: true, Major: 259, Minor: 1},
		{Block: true, Major: 8, Minor: 0}, {Block: true, Major: 8, Minor: 1}, {Block: true, Major: 8, Minor: 2},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// The kernel of this machine takes the programs, and they do what they are for.
func TestIntegrationSet(t *testing.T) {
	cgroup, err := os.MkdirTemp(cgroupMount(t), "bulkhead-fence-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(cgroup) })
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := free.Addr().(*net.TCPAddr).Port
	free.Close()
	zero := Device{Major: 1, Minor: 5}
	refused := func(what string, args ...string) bool {
		t.Helper()
		dir, err := os.Open(cgroup)
		if err != nil {
			t.Fatal(err)
		}
		defer dir.Close()
		cmd := exec.Command(args[0], args[1:]...)
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
		out, err := cmd.CombinedOutput()
		if err != nil && !strings.Contains(string(out), "not permitted") {
			t.Fatalf("%s: %v: %s", what, err, out)
		}
		return err != nil
	}
	bind := []string{os.Args[0], "-test.run=^TestBindHelper$"}
	t.Setenv("FENCE_PORT", free.Addr().String())
	read := []string{"head", "-c1", "/dev/zero"}

	for _, tt := range []struct {
		rules         Rules
		device, bound bool
	}{
		{Rules{}, false, false},
		{Rules{Devices: []Device{{Block: true, Major: 1, Minor: 5}, zero}, Ports: []uint16{1, uint16(port)}}, true, true},
		{Rules{Devices: []Device{{Major: 1, Minor: 7}}, Ports: []uint16{1}}, false, false},
	} {
		if err := Set(cgroup, tt.rules); err != nil {
			t.Fatal(err)
		}
		if got := refused("read", read...); got != tt.device {
			t.Errorf("%v: /dev/zero refused: %t", tt.rules, got)
		}
		if got := refused("bind", bind...); got != tt.bound {
			t.Errorf("%v: port refused: %t", tt.rules, got)
		}
		network := append([]string{"unshare", "--net", "sh", "-c", `ip link set lo up && exec "$@"`, "sh"}, bind...)
		if refused("bind in another network", network...) {
			t.Errorf("%v: port refused in a network of its own", tt.rules)
		}
	}
}

// TestBindHelper is a process of TestIntegrationSet.
func TestBindHelper(t *testing.T) {
	address := os.Getenv("FENCE_PORT")
	if address == "" {
		return
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

// cgroupMount is where cgroup2 is mounted here.
func cgroupMount(t *testing.T) string {
	t.Helper()
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var fs unix.Statfs_t
		if unix.Statfs(dir, &fs) == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC {
			return dir
		}
	}
	dir := t.TempDir()
	if err := unix.Mount("cgroup2", dir, "cgroup2", 0, ""); err != nil {
		t.Fatalf("cgroup2: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}
