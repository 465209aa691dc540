package main

import (
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-os/bulkhead/internal/blockdev"
	"github.com/bulkhead-os/bulkhead/internal/uevent"
)

func TestState(t *testing.T) {
	const autoformat = "rancher.state.autoformat=[/dev/sda,/dev/vda] "
	var (
		blank   = disk("sda", "", "")
		blank2  = disk("vda", "", "")
		roomy   = blockdev.Device{Name: "sda", Path: "/dev/sda", Size: 8 << 30, Sector: 512}
		foreign = disk("sda", "ext4", "data")
		state   = disk("sdb1", "ext4", "RANCHER_STATE")
		mkfs    = "run /sbin/mkfs.ext4 -q -F -e remount-ro -L RANCHER_STATE "
		fsck    = "run /sbin/e2fsck -p "
		inRAM   = "mount tmpfs (tmpfs) on /state"
	)
	tests := []struct {
		name    string
		cmdline string
		devices []blockdev.Device
		setup   func(*fake)
		// want are the programs run and the mounts on the way to /state.
		want []string
		// failure is part of a FAILED line.
		failure string
		rescue  bool
	}{
		{name: "none", want: []string{inRAM}},
		{name: "by label", devices: []blockdev.Device{state}, want: []string{fsck + "/dev/sdb1", "mount /dev/sdb1 (ext4) on /state"}},
		{name: "late, without wait", setup: late(state), cmdline: "x",
			want: []string{fsck + "/dev/sdb1", "mount /dev/sdb1 (ext4) on /state"}},
		{name: "not wanted", cmdline: "rancher.state.dev=", devices: []blockdev.Device{state}, want: []string{inRAM}},
		{name: "not wanted, and a blank disk", cmdline: autoformat + "rancher.state.dev=", devices: []blockdev.Device{blank}, want: []string{inRAM}},
		{name: "other file system", cmdline: "rancher.state.dev=/dev/vda", devices: []blockdev.Device{disk("vda", "xfs", "x")}, want: []string{"mount /dev/vda (xfs) on /state"}},
		{name: "fstype given", cmdline: "rancher.state.dev=/dev/vda rancher.state.fstype=bcachefs", devices: []blockdev.Device{blank2}, want: []string{"mount /dev/vda (bcachefs) on /state"}},
		{name: "no file system", cmdline: "rancher.state.dev=/dev/vda rancher.state.fstype=auto", devices: []blockdev.Device{blank2}, want: []string{inRAM},
			failure: "mount-state cause=\"unknown file system on /dev/vda"},
		{name: "directory", cmdline: "rancher.state.directory=../sub/x", devices: []blockdev.Device{state},
			want: []string{fsck + "/dev/sdb1", "mount /dev/sdb1 (ext4) on /run/bulkhead/state-disk", "bind /run/bulkhead/state-disk/sub/x to /state"}},
		{name: "two", devices: []blockdev.Device{state, disk("sdc", "ext4", "RANCHER_STATE")}, want: []string{inRAM},
			failure: `find-state cause="LABEL=RANCHER_STATE is ambiguous: /dev/sdb1, /dev/sdc"`},
		{name: "two, one on the boot disk", cmdline: "bulkhead.slot=a bulkhead.part=12", devices: []blockdev.Device{state, part("sda6", "bulkhead-state", "RANCHER_STATE")}, setup: installed,
			want: []string{fsck + "/dev/sda6", "mount /dev/sda6 (ext4) on /state"}},
		{name: "two and required", cmdline: "rancher.state.required", devices: []blockdev.Device{state, disk("sdc", "ext4", "RANCHER_STATE")},
			failure: "find-state", rescue: true},
		{name: "missing and required", cmdline: "rancher.state.required=true", failure: `find-state cause="no device LABEL=RANCHER_STATE after 10s"`, rescue: true},
		{name: "asked for and missing", cmdline: "rancher.state.dev=UUID=12", failure: `find-state cause="no device UUID=12 after 10s"`, want: []string{inRAM}},
		{name: "nonsense", cmdline: "rancher.state.dev=sda", failure: "want LABEL=", want: []string{inRAM}},

		{name: "blank disk", cmdline: autoformat, devices: []blockdev.Device{blank}, want: []string{mkfs + "/dev/sda", fsck + "/dev/sda", "mount /dev/sda (ext4) on /state"}},
		{name: "blank disk with room for data", cmdline: autoformat, devices: []blockdev.Device{roomy},
			want: []string{mkfs + "/dev/sda1", "run /sbin/mkfs.ext4 -q -F -e remount-ro -L BULKHEAD_DATA -m 2.0000 /dev/sda2", "write 2 partitions to /dev/sda",
				fsck + "/dev/sda1", "mount /dev/sda1 (ext4) on /state", fsck + "/dev/sda2"}},
		{name: "blank disk whose data cannot be formatted", cmdline: autoformat, devices: []blockdev.Device{roomy},
			setup: func(f *fake) { f.refuse["add bulkhead-data to /dev/sda"] = syscall.EIO },
			want:  []string{mkfs + "/dev/sda1", inRAM}, failure: "format-state cause=\"add partition 2 to /dev/sda: input/output error"},
		{name: "second disk is blank", cmdline: autoformat, devices: []blockdev.Device{foreign, blank2}, want: []string{mkfs + "/dev/vda", fsck + "/dev/vda", "mount /dev/vda (ext4) on /state"}},
		{name: "state exists beside a blank disk", cmdline: autoformat, devices: []blockdev.Device{blank, state}, want: []string{fsck + "/dev/sdb1", "mount /dev/sdb1 (ext4) on /state"}},
		{name: "state comes while the blank disk waits", cmdline: autoformat, devices: []blockdev.Device{blank}, setup: late(state), want: []string{fsck + "/dev/sdb1", "mount /dev/sdb1 (ext4) on /state"}},
		{name: "no disk to format", cmdline: autoformat, want: []string{inRAM}},
		{name: "disk with data", cmdline: autoformat, devices: []blockdev.Device{foreign}, want: []string{inRAM},
			failure: `format-state cause="nothing formatted: /dev/sda is not empty: byte 1 is not zero (a partition table or data)"`},
		{name: "partitions", cmdline: autoformat, devices: []blockdev.Device{{Name: "sda1", Path: "/dev/sda1", Disk: "sda"}, blank}, want: []string{inRAM},
			failure: `/dev/sda has partitions`},
		{name: "write-protected", cmdline: autoformat, devices: []blockdev.Device{{Name: "sda", Path: "/dev/sda", ReadOnly: true}}, want: []string{inRAM},
			failure: `/dev/sda is write-protected`},
		{name: "mkfs fails", cmdline: autoformat, devices: []blockdev.Device{blank}, setup: func(f *fake) { f.exit["/sbin/mkfs.ext4"] = 1 },
			want: []string{mkfs + "/dev/sda", inRAM}, failure: "mkfs.ext4 /dev/sda: exit status 1: output of /sbin/mkfs.ext4"},

		{name: "repaired", devices: []blockdev.Device{state}, setup: func(f *fake) { f.exit["/sbin/e2fsck"] = 1 },
			want: []string{fsck + "/dev/sdb1", "mount /dev/sdb1 (ext4) on /state"}},
		{name: "beyond repair", devices: []blockdev.Device{state}, setup: func(f *fake) { f.exit["/sbin/e2fsck"] = 4 },
			want: []string{fsck + "/dev/sdb1", inRAM}, failure: "check-state cause=\"e2fsck -p /dev/sdb1: exit status 4"},
		{name: "beyond repair and required", cmdline: "rancher.state.required", devices: []blockdev.Device{state}, setup: func(f *fake) { f.exit["/sbin/e2fsck"] = 4 },
			want: []string{fsck + "/dev/sdb1"}, failure: "check-state", rescue: true},
		{name: "mount fails", devices: []blockdev.Device{state}, setup: func(f *fake) { f.refuse["mount /dev/sdb1 (ext4) on /state"] = syscall.EIO },
			want: []string{fsck + "/dev/sdb1", "mount /dev/sdb1 (ext4) on /state", inRAM}, failure: "mount-state"},
		{name: "read-only file system", cmdline: "rancher.state.directory=d", devices: []blockdev.Device{state},
			setup: func(f *fake) { f.refuse["mkdir /run/bulkhead/state-disk/d/home 0755"] = syscall.EROFS },
			want:  []string{fsck + "/dev/sdb1", "mount /dev/sdb1 (ext4) on /run/bulkhead/state-disk", "unmount /run/bulkhead/state-disk", inRAM}, failure: "mount-state"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			// Unattended, rescue ends in a reboot.
			f := newFake("panic=1 " + tt.cmdline)
			f.devices = append(f.devices, tt.devices...)
			for _, d := range tt.devices {
				f.contents[d.Path] = make([]byte, 2<<20)
				if d.Info.Type != "" {
					f.contents[d.Path][1] = 1
				}
			}
			if tt.setup != nil {
				tt.setup(f)
			}
			f.boot()
			var got []string
			for _, c := range f.calls {
				if strings.HasPrefix(c, "run ") || strings.HasPrefix(c, "write ") && strings.Contains(c, "partitions") || strings.Contains(c, "state-disk (") ||
					strings.HasSuffix(c, " /state") || strings.HasSuffix(c, "/state-disk") {
					got = append(got, c)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
			if rescued := len(f.matching("reboot")) > 0; rescued != tt.rescue {
				t.Errorf("rescue: %v; want %v", rescued, tt.rescue)
			}
			failures := ""
			for _, line := range f.consoles {
				if strings.Contains(line, "FAILED") && !strings.Contains(line, errExec.Error()) {
					failures += line + "\n"
				}
			}
			if !strings.Contains(failures, tt.failure) || (tt.failure == "") != (failures == "") {
				t.Errorf("failures %q; want %q", failures, tt.failure)
			}
		})
	}
}

// part is a partition of the installed disk sda.
func part(name, partName, label string) blockdev.Device {
	d := disk(name, "ext4", label)
	d.Disk, d.PartName = "sda", partName
	return d
}

// installed adds the slot that the machine boots from.
func installed(f *fake) {
	slot := part("sda4", "bulkhead-a", "")
	slot.PartUUID = "12"
	f.devices = append(f.devices, slot)
	f.files["/bulkhead/root.digest"], f.digests["/medium/bulkhead/root.erofs"] = "feed\n", "feed"
}

func TestData(t *testing.T) {
	state, data := part("sda6", "bulkhead-state", "RANCHER_STATE"), part("sda7", "bulkhead-data", "BULKHEAD_DATA")
	elsewhere := data
	elsewhere.Disk = "sdb"
	const (
		fsck  = "run /sbin/e2fsck -p /dev/sda7"
		mount = "mount /dev/sda7 (ext4) on /data"
		broke = "mount tmpfs (tmpfs) on /var/lib/user-docker"
	)
	onData := []string{"bind /data/home to /home", "bind /data/srv to /state/srv", "bind /data/var/lib/user-docker to /var/lib/user-docker"}
	onState := []string{"bind /state/home to /home"}
	tests := []struct {
		name    string
		devices []blockdev.Device
		setup   func(*fake)
		want    []string
		failure string
	}{
		{name: "there", devices: []blockdev.Device{state, data}, want: append([]string{fsck, mount}, onData...)},
		{name: "none", devices: []blockdev.Device{state}, want: onState},
		{name: "of another disk", devices: []blockdev.Device{state, elsewhere}, want: onState},
		{name: "without a state", devices: []blockdev.Device{data}, want: onState},
		{name: "beyond repair", devices: []blockdev.Device{state, data}, setup: func(f *fake) { f.exit["/sbin/e2fsck"] = 4 },
			want: []string{"bind /state/home to /home"}, failure: "check-state"},
		{name: "cannot be mounted", devices: []blockdev.Device{state, data}, setup: func(f *fake) { f.refuse[mount] = syscall.EIO },
			want: append([]string{fsck, mount}, append(onState, broke)...), failure: "data cause=\"mount /dev/sda7"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake("")
			f.devices = append(f.devices, tt.devices...)
			if tt.setup != nil {
				tt.setup(f)
			}
			f.boot()
			var got []string
			for _, c := range f.calls {
				if c == fsck || c == mount || strings.HasSuffix(c, " to /home") || c == "bind /data/srv to /state/srv" || strings.HasSuffix(c, " /var/lib/user-docker") {
					got = append(got, c)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			failures := ""
			for _, line := range f.consoles {
				if strings.Contains(line, "FAILED") && !strings.Contains(line, errExec.Error()) {
					failures += line + "\n"
				}
			}
			if !strings.Contains(failures, tt.failure) || (tt.failure == "") != (failures == "") {
				t.Errorf("failures %q; want %q", failures, tt.failure)
			}
		})
	}
}

// late makes a device that appears after the boot's first look.
func late(d blockdev.Device) func(*fake) {
	return func(f *fake) {
		f.arrivals = []arrival{{event: uevent.Event{Action: "add", Subsystem: "block"}, device: &d}}
	}
}

// TestRequiredStateIsTriedAgain: leaving rescue must not lead to state in RAM.
func TestRequiredStateIsTriedAgain(t *testing.T) {
	f := newFake("rancher.state.required")
	f.devices = append(f.devices, disk("sda", "ext4", "RANCHER_STATE"))
	f.exit["/sbin/e2fsck"] = 4
	// The person repairs it in the shell, and "exit"s.
	f.shell = func() { f.exit["/sbin/e2fsck"] = 0 }
	f.console = "exit\n"
	f.boot()
	want := []string{"run /sbin/e2fsck -p /dev/sda", "run /sbin/e2fsck -p /dev/sda"}
	if diff := cmp.Diff(want, f.matching("run")); diff != "" {
		t.Error(diff)
	}
	if len(f.matching("mount /dev/sda (ext4) on /state")) != 1 {
		t.Errorf("calls: %q", f.calls)
	}
}

func TestOwnMediumIsNotFormatted(t *testing.T) {
	f := newFake("rancher.state.autoformat=[/dev/sda]")
	stick := disk("sda", "iso9660", isoLabel)
	f.devices = []blockdev.Device{stick}
	f.boot()
	for _, line := range f.consoles {
		if strings.Contains(line, "format-state") {
			t.Errorf("console: %s", line)
		}
	}
	if calls := f.matching("run"); calls != nil {
		t.Errorf("ran %q", calls)
	}
}
