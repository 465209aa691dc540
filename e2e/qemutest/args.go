package qemutest

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// Medium is how the machine gets the operating system.
type Medium int

const (
	// CD attaches Options.ISO as a CD-ROM and boots from it.
	CD Medium = iota
	// USB attaches Options.ISO as a USB stick and boots from it.
	USB
	// Kernel starts Options.Kernel and Options.Initrd directly, as PXE does.
	// Options.ISO, when set, is attached as a CD-ROM besides.
	Kernel
	// HardDisk boots from the first of Options.Disks.
	HardDisk
)

// Controller is what a disk hangs on; the names are QEMU's devices.
type Controller string

// The controllers that guests are expected to know.
const (
	VirtioBlk  Controller = "virtio-blk-pci" // the default
	VirtioSCSI Controller = "virtio-scsi-pci"
	AHCI       Controller = "ahci"
	NVMe       Controller = "nvme"
	PVSCSI     Controller = "pvscsi"
	SDHCI      Controller = "sdhci-pci"
	USBStorage Controller = "usb-storage"
)

// A Disk is a disk image.
type Disk struct {
	Path       string
	Format     string // raw when empty, or qcow2
	Controller Controller
	ReadOnly   bool
	// Sector is the size of a sector in bytes, 512 when zero.
	Sector int
	// WriteLog gets all that the machine writes to the disk (type WriteLog).
	WriteLog string
}

// Options describe a machine. The zero value of each field is a sensible
// default, except that something to boot must be given.
type Options struct {
	// Name tells machines of one test apart in messages and file names.
	Name string
	// MemoryMB is 2048 and CPUs 2 when zero.
	MemoryMB int
	CPUs     int

	Medium Medium
	ISO    string
	Kernel string
	Initrd string
	Append string
	// UEFI boots with OVMF instead of SeaBIOS.
	UEFI bool
	// SecureBoot has that firmware start only what Microsoft's keys let it.
	SecureBoot bool
	Disks      []Disk
	// DiskFirst boots from the first of Disks if firmware can, before Medium.
	DiskFirst bool

	// SSHPort is the host port that leads to port 22 of the guest; the
	// kernel chooses one when it is zero.
	SSHPort int
	// State is a file that VM.Save wrote: the machine goes on from there
	// instead of booting. All else must be as it was for the machine saved,
	// except for the contents of Disks, which must be those of that moment.
	State string
	// Args are further QEMU arguments.
	Args []string
}

// names of the files in a machine's directory.
const (
	consoleSocket = "console.sock"
	monitorSocket = "qmp.sock"
	agentSocket   = "agent.sock"
	consoleLog    = "console.log"
	qemuLog       = "qemu.log"
	pidFile       = "qemu.pid"
	uefiVars      = "uefi-vars.fd"
)

// arguments returns QEMU's arguments for a machine whose files are in dir.
func arguments(o Options, accel, dir string) []string {
	cpus, memory := o.CPUs, o.MemoryMB
	if cpus == 0 {
		cpus = 2
	}
	if memory == 0 {
		memory = 2048
	}
	forward := fmt.Sprintf("hostfwd=tcp:127.0.0.1:%d-:22", o.SSHPort)
	args := []string{
		"-name", escape(o.Name),
		"-machine", "q35,accel=" + accel + choose(o.SecureBoot, ",smm=on", ""), "-cpu", "max",
		"-smp", strconv.Itoa(cpus), "-m", strconv.Itoa(memory),
		"-nodefaults", "-vga", "std", "-display", "none", "-S",
		"-pidfile", filepath.Join(dir, pidFile),
		// QEMU itself keeps the log, so that it is whole even when nobody
		// listens on the socket any more.
		"-chardev", "socket,id=console,server=on,wait=off,path=" + escape(filepath.Join(dir, consoleSocket)) +
			",logfile=" + escape(filepath.Join(dir, consoleLog)),
		"-serial", "chardev:console",
		"-qmp", "unix:" + escape(filepath.Join(dir, monitorSocket)) + ",server=on,wait=off",
		// Where the host talks to the guest agent, as libvirt and Proxmox do.
		"-chardev", "socket,id=agent,server=on,wait=off,path=" + escape(filepath.Join(dir, agentSocket)),
		"-device", "virtio-serial-pci", "-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0",
		"-device", "virtio-rng-pci",
		"-netdev", "user,id=net0,ipv4=on,ipv6=on," + forward,
		"-device", "virtio-net-pci,netdev=net0,romfile=",
		"-device", "qemu-xhci,id=usb",
	}
	if o.UEFI {
		args = append(args,
			"-drive", "if=pflash,unit=0,format=raw,readonly=on,file="+escape(o.firmware().code),
			"-drive", "if=pflash,unit=1,format=raw,file="+escape(filepath.Join(dir, uefiVars)))
	}
	if o.SecureBoot {
		// Only the firmware may write to its variables.
		args = append(args, "-global", "driver=cfi.pflash01,property=secure,value=on")
	}
	if o.ISO != "" {
		args = append(args, "-drive", "if=none,id=iso,format=raw,readonly=on,file="+escape(o.ISO))
		device := "ide-cd,drive=iso"
		if o.Medium == USB {
			device = "usb-storage,bus=usb.0,drive=iso,removable=on"
		}
		if o.Medium == CD || o.Medium == USB {
			device += ",bootindex=" + choose(o.DiskFirst, "1", "0")
		}
		args = append(args, "-device", device)
	}
	if o.Medium == Kernel {
		args = append(args, "-kernel", o.Kernel, "-initrd", o.Initrd, "-append", o.Append)
	}
	if o.State != "" {
		args = append(args, "-incoming", "defer")
	}
	for i, d := range o.Disks {
		args = append(args, diskArguments(i, d, (o.Medium == HardDisk || o.DiskFirst) && i == 0)...)
	}
	return append(args, o.Args...)
}

// diskArguments returns the arguments for disk number i.
func diskArguments(i int, d Disk, boot bool) []string {
	id := fmt.Sprintf("disk%d", i)
	format := d.Format
	if format == "" {
		format = "raw"
	}
	drive := fmt.Sprintf("if=none,id=%s,format=%s,file=%s,discard=unmap,cache=writeback", id, format, escape(d.Path))
	if d.ReadOnly {
		drive += ",readonly=on"
	}
	args := []string{"-drive", drive}
	if d.WriteLog != "" {
		args = loggedDrive(id, format, d)
	}
	// The serial becomes /dev/disk/by-id, for tests that name a disk.
	var device string
	switch d.Controller {
	case VirtioBlk, "":
		device = "virtio-blk-pci,drive=" + id + ",serial=" + id
		if d.WriteLog != "" {
			// blklogwrites adds a part to a request; to a merged one, which has as
			// many as a system call takes, that is one too many (QEMU 7.2).
			device += ",request-merging=off"
		}
	case NVMe:
		device = "nvme,drive=" + id + ",serial=" + id
	case USBStorage:
		device = "usb-storage,bus=usb.0,drive=" + id
	case AHCI:
		bus := "ahci" + strconv.Itoa(i)
		args = append(args, "-device", "ahci,id="+bus)
		device = "ide-hd,bus=" + bus + ".0,drive=" + id + ",serial=" + id
	case SDHCI:
		args = append(args, "-device", "sdhci-pci")
		device = "sd-card,drive=" + id
	case VirtioSCSI, PVSCSI:
		bus := "scsi" + strconv.Itoa(i)
		args = append(args, "-device", string(d.Controller)+",id="+bus)
		device = "scsi-hd,bus=" + bus + ".0,drive=" + id + ",serial=" + id
	default:
		device = string(d.Controller) + ",drive=" + id
	}
	if d.Sector != 0 {
		device += fmt.Sprintf(",logical_block_size=%[1]d,physical_block_size=%[1]d", d.Sector)
	}
	if boot {
		device += ",bootindex=0"
	}
	return append(args, "-device", device)
}

// loggedDrive returns the arguments for a drive whose writes are logged.
func loggedDrive(id, format string, d Disk) []string {
	return []string{
		"-blockdev", "driver=file,node-name=" + id + "-file,discard=unmap,filename=" + escape(d.Path),
		"-blockdev", "driver=" + format + ",node-name=" + id + "-image,discard=unmap,file=" + id + "-file",
		"-blockdev", "driver=file,node-name=" + id + "-log-file,filename=" + escape(d.WriteLog),
		"-blockdev", "driver=raw,node-name=" + id + "-log,file=" + id + "-log-file",
		"-blockdev", "driver=blklogwrites,node-name=" + id + ",discard=unmap,log-sector-size=512,file=" + id + "-image,log=" + id + "-log",
	}
}

func choose(is bool, yes, no string) string {
	if is {
		return yes
	}
	return no
}

// escape protects the commas of a value in a list of options.
func escape(value string) string { return strings.ReplaceAll(value, ",", ",,") }

// commandLine returns a line that a person can paste into a shell.
func commandLine(args []string) string {
	quoted := make([]string, 0, len(args)+1)
	for _, a := range append([]string{Binary}, args...) {
		if a == "" || strings.ContainsAny(a, " \t\n'\"$&;()<>|*?`\\") {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		quoted = append(quoted, a)
	}
	return strings.Join(quoted, " ")
}
