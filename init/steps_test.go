package main

import (
	"context"
	"errors"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-os/bulkhead/internal/blockdev"
	"github.com/bulkhead-os/bulkhead/internal/uevent"
)

func TestBootStepsOrder(t *testing.T) {
	f := newFake("quiet")
	f.boot()
	var want []string
	for _, s := range bootSteps {
		want = append(want, s.name)
	}
	got := f.steps
	// hand-over records itself; a second record says that exec returned.
	if n := len(got); n > 0 && strings.Contains(got[n-1], errExec.Error()) {
		got = got[:n-1]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
}

// TestBootFromCD is a whole boot without a disk, as the machine sees it.
func TestBootFromCD(t *testing.T) {
	f := newFake("console=ttyS0 quiet")
	f.boot()
	want := []string{
		"mkdir /proc 0755", "mount proc (proc) on /proc",
		"mkdir /sys 0755", "mount sysfs (sysfs) on /sys",
		"mkdir /dev 0755", "mount devtmpfs (devtmpfs) on /dev",
		"mkdir /run 0755", "mount tmpfs (tmpfs) on /run",
		"mount securityfs (securityfs) on /sys/kernel/security",
		"mkdir /run/bulkhead 0755",
		"mkdir /newroot 0755", "mkdir /medium 0755",
		"mount /dev/sr0 (iso9660) on /medium",
		"mount /medium/bulkhead/root.erofs (erofs) on /newroot",
		"move mount /proc to /newroot/proc", "move mount /sys to /newroot/sys",
		"move mount /dev to /newroot/dev", "move mount /run to /newroot/run",
		"move mount /medium to /newroot/bulkhead/medium",
		"enter /newroot",
		"loop /bulkhead/modules.erofs", "mount /dev/loop0 (erofs) on /bulkhead/modules/6.12.0-test/kernel",
		"mkdir /dev/pts 0755", "mount devpts (devpts) on /dev/pts", "mkdir /dev/shm 0755", "mount tmpfs (tmpfs) on /dev/shm",
		"mkdir /dev/mqueue 0755", "mount mqueue (mqueue) on /dev/mqueue", "mkdir /tmp 0755", "mount tmpfs (tmpfs) on /tmp",
		"mkdir /run/user-docker 0755", "mount tmpfs (tmpfs) on /run/user-docker",
		"mkdir /run/user-docker/shm 0755", "mount tmpfs (tmpfs) on /run/user-docker/shm",
		"mkdir /usr/lib/modules 0755", "bind /bulkhead/modules to /usr/lib/modules",
		"mkdir /dev/net 0755", "node /dev/net/tun 20600 10:200",
		"start /usr/bin/cat /bulkhead/engine/bin/dockerd /bulkhead/engine/bin/containerd-shim-runc-v2 /bulkhead/engine/bin/runc",
		"mount tmpfs (tmpfs) on /state",
		"mkdir /state/var/lib 0755", "mkdir /state/var/log 0755", "mkdir /state/home 0755", "mkdir /state/opt 0755",
		"mkdir /state/mnt 0755", "mkdir /state/media 0755", "mkdir /state/root 0700", "mkdir /state/etc/docker 0755",
		"mkdir /state/srv 0755", "mkdir /state/data 0755", "mkdir /state/usr/local 0755", "mkdir /state/var/tmp 4000777",
		"mkdir /state/var/lib/rancher/conf 0700",
		"bind /state/var/lib to /var/lib", "bind /state/var/log to /var/log", "bind /state/home to /home",
		"bind /state/opt to /opt", "bind /state/mnt to /mnt", "bind /state/media to /media",
		"bind /state/root to /root", "bind /state/etc/docker to /etc/docker",
		"keep setuid and devices from /home", "keep setuid and devices from /opt",
		"keep setuid and devices from /mnt", "keep setuid and devices from /media", "keep setuid and devices from /root",
		"bind /state/srv to /state/srv", "keep setuid and devices from /state/srv",
		"bind /state/data to /state/data", "keep setuid and devices from /state/data",
		"bind /state/usr/local to /state/usr/local", "keep setuid and devices from /state/usr/local",
		"bind /state/var/tmp to /state/var/tmp", "keep setuid and devices from /state/var/tmp",
		"mkdir /opt/rancher 0755", "bind /opt/rancher to /opt/rancher", "make /opt/rancher read-only",
		"mkdir /opt/bin 0755", "bind /opt/bin to /opt/bin", "make /opt/bin read-only",
		"mount  () on /",
		"hostname bulkhead", "mkdir /run/bulkhead/etc 0755",
		"free",
		"exec /bulkhead/engine/bin/dockerd [system-dockerd] [PATH=/bulkhead/engine/bin:/usr/sbin:/usr/bin:/sbin:/bin SSL_CERT_DIR=/run/bulkhead/certs]",
	}
	var got []string
	for _, c := range f.calls {
		if !strings.HasPrefix(c, "symlink") {
			got = append(got, c)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestStepThatFails(t *testing.T) {
	fails := errors.New("no such thing")
	tests := []struct {
		name     string
		optional func(*boot) bool
		errs     []error
		want     []string
	}{
		{"optional", always, []error{fails},
			[]string{`bulkhead: FAILED step=s cause="no such thing" remedy="do better" next="the boot goes on without it"`}},
		{"required, works the second time", never, []error{fails, nil}, []string{
			`bulkhead: FAILED step=s cause="no such thing" remedy="do better"`,
			`bulkhead: rescue on /dev/console: leave it with "exit" to try s again`,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake("")
			f.console = "exit\n"
			calls := 0
			s := step{"s", func(context.Context, *boot) error {
				calls++
				return tt.errs[calls-1]
			}, tt.optional, "do better"}
			newBoot(f).run(t.Context(), []step{s})
			if calls != len(tt.errs) {
				t.Errorf("the step ran %d times; want %d", calls, len(tt.errs))
			}
			var got []string
			for _, line := range f.consoles {
				if strings.HasPrefix(line, "bulkhead:") {
					got = append(got, line)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPanicInAStepIsAFailure(t *testing.T) {
	f := newFake("")
	b := newBoot(f)
	err := b.try(t.Context(), step{"s", func(context.Context, *boot) error { panic("oops") }, never, ""})
	if err == nil || err.Error() != "BUG: oops" {
		t.Errorf("try() = %v; want BUG: oops", err)
	}
}

func TestUnattendedMachineReboots(t *testing.T) {
	f := newFake("panic=5")
	f.devices = nil
	f.boot()
	if len(f.matching("reboot")) != 1 {
		t.Errorf("no reboot; consoles: %q", f.consoles)
	}
}

func TestRescuePrompt(t *testing.T) {
	f := newFake("")
	f.devices = []blockdev.Device{disk("sda", "ext4", "mine")}
	f.console = "help\nlog\ndisks\nreboot\n"
	f.boot()
	out := strings.Join(f.consoles, "")
	for _, want := range []string{
		`FAILED step=image cause="no medium with label BULKHEAD after 1m0s: found only /dev/sda (ext4 \"mine\", 8192 MiB)"`,
		promptHelp, "log of the kernel", "/dev/sda (ext4 \"mine\", 8192 MiB)",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("console lacks %q:\n%s", want, out)
		}
	}
	if len(f.matching("reboot")) != 1 || len(f.matching("shell")) != 0 {
		t.Errorf("calls: %q", f.calls)
	}
}

func TestShellWhenTheSystemImageIsMounted(t *testing.T) {
	f := newFake("panic=1")
	f.refuse["enter /newroot"] = nil
	f.refuse["bind /state/home to /home"] = syscall.EIO
	f.boot()
	if len(f.matching("reboot")) != 1 {
		t.Errorf("unattended: no reboot: %q", f.consoles)
	}
	f = newFake("rancher.recovery=true")
	f.boot()
	if len(f.matching("shell /bin/bash")) != 1 || len(f.matching("exec")) != 1 {
		t.Errorf("recovery: calls %q", f.calls)
	}
}

// A system in a slot leaves word in its own disk's boot state why it does not
// come up.
func TestCauseOfTrial(t *testing.T) {
	part := func(name, disk, role string) blockdev.Device {
		return blockdev.Device{Name: name, Path: "/dev/" + name, Disk: disk, PartName: "bulkhead-" + role, PartUUID: name, Info: blockdev.Info{Type: "ext4"}}
	}
	for cmdline, want := range map[string][]string{
		"panic=1 bulkhead.slot=b bulkhead.part=sda5": {"note /dev/sda3 b image: "},
		"panic=1": nil,
	} {
		f := newFake(cmdline)
		f.devices = []blockdev.Device{cdrom, part("sdb3", "sdb", "bootstate"), part("sda3", "sda", "bootstate"), part("sda5", "sda", "b")}
		f.files["/bulkhead/root.digest"] = "feed\n"
		f.digests["/medium/bulkhead/root.erofs"] = "food"
		f.refuse["mount /medium/bulkhead/root.erofs (erofs) on /newroot"] = syscall.EINVAL
		f.refuse["mount /dev/loop0 (erofs) on /newroot"] = syscall.EINVAL
		f.boot()
		got := f.matching("note ")
		if len(got) != len(want) || len(want) > 0 && !strings.HasPrefix(got[0], want[0]) {
			t.Errorf("%s: %q; want %q", cmdline, got, want)
		}
		if len(f.matching("reboot")) != 1 {
			t.Errorf("%s: no reboot", cmdline)
		}
	}
}

func TestImage(t *testing.T) {
	usb := disk("sdb", "iso9660", isoLabel)
	slot := func(uuid, name string) blockdev.Device {
		return blockdev.Device{Name: "sda5", Path: "/dev/sda5", Disk: "sda", PartUUID: uuid, PartName: name, Info: blockdev.Info{Type: "ext4"}}
	}
	sealed := func(digest string, d blockdev.Device) func(*fake) {
		return func(f *fake) {
			f.devices = []blockdev.Device{cdrom, d}
			f.files["/bulkhead/root.digest"] = "feed\n"
			f.digests["/medium/bulkhead/root.erofs"] = digest
		}
	}
	direct := errors.New("erofs: not a block device")
	tests := []struct {
		name    string
		cmdline string
		setup   func(*fake)
		want    []string
		failure string
	}{
		{name: "usb stick that comes late", setup: func(f *fake) {
			f.devices = nil
			f.arrivals = []arrival{
				{event: uevent.Event{Action: "add", Subsystem: "pci", Modalias: "pci:v1d2sv3sd4bc01sc06i01"}},
				{event: uevent.Event{Action: "add", Subsystem: "block"}, device: &usb},
			}
		}, want: []string{"mount /dev/sdb (iso9660) on /medium", "mount /medium/bulkhead/root.erofs (erofs) on /newroot"}},
		{name: "first medium is for another kernel", setup: func(f *fake) {
			f.devices = []blockdev.Device{cdrom}
			delete(f.files, "/newroot/bulkhead/modules/6.12.0-test")
		}, want: []string{"mount /dev/sr0 (iso9660) on /medium", "mount /medium/bulkhead/root.erofs (erofs) on /newroot", "unmount /newroot", "unmount /medium"},
			failure: "the system image is for another kernel than the running one, 6.12.0-test"},
		{name: "slot", cmdline: "bulkhead.slot=b bulkhead.part=12-34", setup: sealed("feed", slot("12-34", "")),
			want: []string{"mount /dev/sda5 (ext4) on /medium", "mount /medium/bulkhead/root.erofs (erofs) on /newroot"}},
		{name: "slot by its name", cmdline: "bulkhead.slot=b", setup: sealed("feed", slot("12-34", "bulkhead-b")),
			want: []string{"mount /dev/sda5 (ext4) on /medium", "mount /medium/bulkhead/root.erofs (erofs) on /newroot"}},
		{name: "slot of another disk", cmdline: "bulkhead.slot=b bulkhead.part=12-34", setup: sealed("feed", slot("12-35", "bulkhead-b")),
			failure: "no medium with PARTUUID=12-34"},
		{name: "another image in the slot", cmdline: "bulkhead.slot=b bulkhead.part=12-34", setup: sealed("food", slot("12-34", "")),
			want: []string{"mount /dev/sda5 (ext4) on /medium", "unmount /medium"}, failure: "has the digest food, and this initramfs belongs to feed"},
		{name: "unchecked image in the slot", cmdline: "bulkhead.slot=b bulkhead.part=12-34", setup: func(f *fake) {
			sealed("", slot("12-34", ""))(f)
			f.refuse["verity /medium/bulkhead/root.erofs"] = syscall.ENODATA
		}, want: []string{"mount /dev/sda5 (ext4) on /medium", "unmount /medium"}, failure: "no data available"},
		{name: "unknown slot", cmdline: "bulkhead.slot=c", setup: func(*fake) {}, failure: "bulkhead.slot=c: want a or b"},
		{name: "in the initramfs", setup: func(f *fake) {
			f.files[netbootImage] = ""
			f.refuse["mount /bulkhead/netboot/bulkhead/root.erofs (erofs) on /newroot"] = direct
		}, want: []string{"mount /bulkhead/netboot/bulkhead/root.erofs (erofs) on /newroot", "loop /bulkhead/netboot/bulkhead/root.erofs", "mount /dev/loop0 (erofs) on /newroot"}},
		{name: "damaged image", setup: func(f *fake) {
			f.refuse["mount /medium/bulkhead/root.erofs (erofs) on /newroot"] = direct
			f.refuse["mount /dev/loop0 (erofs) on /newroot"] = syscall.EINVAL
		}, want: []string{"mount /dev/sr0 (iso9660) on /medium", "mount /medium/bulkhead/root.erofs (erofs) on /newroot", "loop /medium/bulkhead/root.erofs", "mount /dev/loop0 (erofs) on /newroot", "unmount /medium"},
			failure: "mount /dev/loop0 (erofs) on /newroot: invalid argument"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(tt.cmdline)
			tt.setup(f)
			b := newBoot(f)
			err := readParameters(t.Context(), b)
			if err == nil {
				err = loadDrivers(t.Context(), b)
			}
			if err != nil {
				t.Fatal(err)
			}
			err = findImage(t.Context(), b)
			if (err != nil) != (tt.failure != "") || err != nil && !strings.Contains(err.Error(), tt.failure) {
				t.Errorf("findImage() = %v; want %q", err, tt.failure)
			}
			var got []string
			for _, c := range f.calls {
				if regexp.MustCompile("^(mount|unmount|loop) ").MatchString(c) {
					got = append(got, c)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestDocumentation keeps docs/boot.md at exactly the steps there are.
func TestDocumentation(t *testing.T) {
	doc, err := os.ReadFile("../docs/boot.md")
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for _, s := range bootSteps {
		want = append(want, s.name)
	}
	for _, m := range regexp.MustCompile("(?m)^\\| [0-9]+ \\| `([a-z-]+)` \\|").FindAllStringSubmatch(string(doc), -1) {
		got = append(got, m[1])
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("docs/boot.md (-steps +documented):\n%s", diff)
	}
}

// Somebody may have put a file where a directory has to be.
func TestRestrictMountsFails(t *testing.T) {
	f := newFake("quiet")
	f.refuse["mkdir /opt/bin 0755"] = syscall.ENOTDIR
	f.refuse["keep setuid and devices from /home"] = syscall.EINVAL
	b := &boot{sys: f, mounted: map[string]bool{"/home": true}}
	b.restrictMounts()
	if got := f.matching("make "); len(got) != 1 || got[0] != "make /opt/rancher read-only" {
		t.Errorf("read-only are %q", got)
	}
	if got := f.matching("keep setuid and devices from /media"); len(got) != 1 {
		t.Error("the rest has no limits")
	}
}
