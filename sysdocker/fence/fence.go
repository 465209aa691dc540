// Package fence keeps the user tier from devices and ports that belong to the
// OS, by programs that the kernel runs for every process below one cgroup, with
// whatever rights it has.
package fence

import (
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Rules are what processes below the cgroup cannot use.
type Rules struct {
	// Devices cannot be opened. Their nodes can be made and listed.
	Devices []Device
	// Ports of TCP cannot be bound in the machine's own network.
	Ports []uint16
}

// A Device is a block or character device by its numbers.
type Device struct {
	Block        bool
	Major, Minor uint32
}

// flagAllowMulti is BPF_F_ALLOW_MULTI: cgroups below may have programs, too, as
// runc makes one for each container.
const flagAllowMulti = 2

// Set puts rules into force for a cgroup below which others may be, in place of
// those of an earlier call. They stay when this process ends.
func Set(cgroup string, r Rules) error {
	dir, err := os.Open(cgroup)
	if err != nil {
		return err
	}
	defer dir.Close()
	network, err := networkCookie()
	if err != nil {
		return fmt.Errorf("number of the machine's network: %w", err)
	}
	for _, p := range []struct {
		name   string
		kind   ebpf.ProgramType
		attach ebpf.AttachType
		code   asm.Instructions
	}{
		{"bh_devices", ebpf.CGroupDevice, ebpf.AttachCGroupDevice, deviceProgram(r.Devices)},
		{"bh_ports_v4", ebpf.CGroupSock, ebpf.AttachCGroupInet4PostBind, portProgram(r.Ports, network)},
		{"bh_ports_v6", ebpf.CGroupSock, ebpf.AttachCGroupInet6PostBind, portProgram(r.Ports, network)},
	} {
		spec := &ebpf.ProgramSpec{Name: p.name, Type: p.kind, AttachType: p.attach, Instructions: p.code, License: "Apache-2.0"}
		if err := replace(int(dir.Fd()), spec); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

// replace attaches a program, if there is one, before it detaches those of the
// same name.
func replace(cgroup int, spec *ebpf.ProgramSpec) error {
	old, err := link.QueryPrograms(link.QueryOptions{Target: cgroup, Attach: spec.AttachType})
	if err != nil {
		return err
	}
	if len(spec.Instructions) > 0 {
		if err := attach(cgroup, spec); err != nil {
			return err
		}
	}
	for _, p := range old.Programs {
		if err := detach(cgroup, p.ID, spec); err != nil {
			return err
		}
	}
	return nil
}

func attach(cgroup int, spec *ebpf.ProgramSpec) error {
	program, err := ebpf.NewProgram(spec)
	if err != nil {
		return err
	}
	defer program.Close()
	return link.RawAttachProgram(link.RawAttachProgramOptions{Target: cgroup, Program: program, Attach: spec.AttachType, Flags: flagAllowMulti})
}

func detach(cgroup int, id ebpf.ProgramID, spec *ebpf.ProgramSpec) error {
	program, err := ebpf.NewProgramFromID(id)
	if err != nil {
		return err
	}
	defer program.Close()
	info, err := program.Info()
	if err != nil || info.Name != spec.Name {
		return err
	}
	return link.RawDetachProgram(link.RawDetachProgramOptions{Target: cgroup, Program: program, Attach: spec.AttachType})
}

// networkCookie is the kernel's number of the network that this process is in.
func networkCookie() (uint64, error) {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(socket)
	return unix.GetsockoptUint64(socket, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
}
