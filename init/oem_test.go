package main

import (
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-os/bulkhead/internal/blockdev"
)

func TestOEM(t *testing.T) {
	oem := disk("sdc1", "ext4", "RANCHER_OEM")
	tests := []struct {
		name    string
		cmdline string
		devices []blockdev.Device
		want    []string
		failure string
	}{
		{name: "none"},
		{name: "by label", devices: []blockdev.Device{oem}, want: []string{"mount /dev/sdc1 (ext4) on /usr/share/ros/oem"}},
		{name: "not wanted", cmdline: "rancher.state.oem_dev=", devices: []blockdev.Device{oem}},
		{name: "another device and type", cmdline: "rancher.state.oem_dev=/dev/vda rancher.state.oem_fstype=vfat",
			devices: []blockdev.Device{disk("vda", "", "")}, want: []string{"mount /dev/vda (vfat) on /usr/share/ros/oem"}},
		{name: "no file system", cmdline: "rancher.state.oem_dev=/dev/vda rancher.state.oem_fstype=auto",
			devices: []blockdev.Device{disk("vda", "", "")}, failure: "unknown file system on /dev/vda"},
		{name: "asked for and missing", cmdline: "rancher.state.oem_dev=UUID=12", failure: "no device UUID=12 after 10s"},
		{name: "two", devices: []blockdev.Device{oem, disk("sdd", "ext4", "RANCHER_OEM")}, failure: "ambiguous: /dev/sdc1, /dev/sdd"},
		{name: "nonsense", cmdline: "rancher.state.oem_dev=sda", failure: "rancher.state.oem_dev: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(tt.cmdline)
			f.devices = append(f.devices, tt.devices...)
			f.boot()
			var got []string
			for _, call := range f.calls {
				if strings.HasSuffix(call, "/usr/share/ros/oem") {
					got = append(got, call)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("mounts (-want +got):\n%s", diff)
			}
			console := strings.Join(f.consoles, "\n")
			if strings.Contains(console, "FAILED step=oem") != (tt.failure != "") || !strings.Contains(console, tt.failure) {
				t.Errorf("console %q; want %q", console, tt.failure)
			}
			if len(f.matching("exec")) != 1 {
				t.Error("the boot did not go on")
			}
		})
	}
}

// A name that the kernel refuses costs the name, not the machine.
func TestBadHostname(t *testing.T) {
	f := newFake("cc.hostname=bad")
	f.refuse["hostname bad"] = syscall.EINVAL
	f.boot()
	if diff := cmp.Diff([]string{"hostname bad", "hostname bulkhead"}, f.matching("hostname")); diff != "" {
		t.Error(diff)
	}
	if len(f.matching("exec")) != 1 {
		t.Error("the boot did not go on")
	}
}
