package qemutest

import (
	"strings"
	"testing"
)

func TestArguments(t *testing.T) {
	tests := []struct {
		name    string
		options Options
		want    []string // parts of the command line
		not     []string
	}{
		{
			name:    "CD is the default",
			options: Options{ISO: "os.iso"},
			want:    []string{"-m 2048", "-smp 2", "accel=tcg", "file=os.iso", "-device ide-cd,drive=iso,bootindex=0", "hostfwd=tcp:127.0.0.1:0-:22"},
			not:     []string{"-kernel", "pflash"},
		},
		{
			name:    "USB stick",
			options: Options{ISO: "os.iso", Medium: USB},
			want:    []string{"-device usb-storage,bus=usb.0,drive=iso,removable=on,bootindex=0"},
			not:     []string{"ide-cd"},
		},
		{
			name:    "UEFI",
			options: Options{ISO: "os.iso", UEFI: true},
			want:    []string{"if=pflash,unit=0,format=raw,readonly=on", "file=/dir/uefi-vars.fd"},
		},
		{
			name:    "Secure Boot",
			options: Options{ISO: "os.iso", UEFI: true, SecureBoot: true},
			want:    []string{"-machine q35,accel=tcg,smm=on", "OVMF_CODE_4M.ms.fd", "-global driver=cfi.pflash01,property=secure,value=on"},
		},
		{
			name:    "kernel line is quoted",
			options: Options{Medium: Kernel, Kernel: "vmlinuz", Initrd: "initrd", Append: "console=ttyS0 quiet"},
			want:    []string{"-kernel vmlinuz -initrd initrd -append 'console=ttyS0 quiet'"},
			not:     []string{"ide-cd", "bootindex"},
		},
		{
			name: "disks on their controllers",
			options: Options{Medium: HardDisk, Disks: []Disk{
				{Path: "a"}, {Path: "b", Format: "qcow2", Controller: NVMe}, {Path: "c", Controller: PVSCSI, ReadOnly: true},
			}},
			want: []string{
				"-device virtio-blk-pci,drive=disk0,serial=disk0,bootindex=0",
				"format=qcow2,file=b", "-device nvme,drive=disk1",
				"-device pvscsi,id=scsi2", "-device scsi-hd,bus=scsi2.0,drive=disk2", "file=c,discard=unmap,cache=writeback,readonly=on",
			},
		},
		{
			name:    "a disk with a log",
			options: Options{ISO: "os.iso", Disks: []Disk{{Path: "a", WriteLog: "b"}}},
			want: []string{
				"filename=a", "-blockdev driver=blklogwrites,node-name=disk0,discard=unmap,log-sector-size=512,file=disk0-image,log=disk0-log",
				"-device virtio-blk-pci,drive=disk0,serial=disk0,request-merging=off",
			},
			not: []string{"cache=writeback"},
		},
		{
			name:    "a disk before the CD, with other sectors",
			options: Options{ISO: "os.iso", DiskFirst: true, Disks: []Disk{{Path: "a", Sector: 4096}, {Path: "b"}}},
			want: []string{
				"-device ide-cd,drive=iso,bootindex=1",
				"-device virtio-blk-pci,drive=disk0,serial=disk0,logical_block_size=4096,physical_block_size=4096,bootindex=0",
				"-device virtio-blk-pci,drive=disk1,serial=disk1",
			},
		},
		{
			name:    "commas in names",
			options: Options{Name: "a,b", ISO: "c,d.iso"},
			want:    []string{"-name a,,b", "file=c,,d.iso"},
		},
		{
			name:    "fixed ssh port",
			options: Options{ISO: "os.iso", SSHPort: 2222, MemoryMB: 512, CPUs: 1},
			want:    []string{"hostfwd=tcp:127.0.0.1:2222-:22", "-m 512", "-smp 1"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			line := commandLine(arguments(tt.options, "tcg", "/dir"))
			for _, part := range tt.want {
				if !strings.Contains(line, part) {
					t.Errorf("no %q in %s", part, line)
				}
			}
			for _, part := range tt.not {
				if strings.Contains(line, part) {
					t.Errorf("unwanted %q in %s", part, line)
				}
			}
		})
	}
}

func TestParseForward(t *testing.T) {
	const usernet = "Hub -1 (net0):\r\n" +
		"  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n" +
		"  TCP[ESTABLISHED]   9       127.0.0.1 42357       10.0.2.15    22     0     0\r\n" +
		"  TCP[HOST_FORWARD]   8       127.0.0.1 37963       10.0.2.15  8080     0     0\r\n" +
		"  TCP[HOST_FORWARD]   3       127.0.0.1 42357       10.0.2.15    22     0     0\r\n"
	for port, want := range map[int]string{22: "127.0.0.1:42357", 8080: "127.0.0.1:37963"} {
		if got, err := parseForward(usernet, port); err != nil || got != want {
			t.Errorf("parseForward(%d) = %q, %v; want %q", port, got, err, want)
		}
	}
	if got, err := parseForward(usernet, 80); err == nil {
		t.Errorf("parseForward(80) = %q; want an error", got)
	}
}
