package fence

import (
	"fmt"

	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// What the programs answer.
const (
	refuse = 0 // EPERM
	allow  = 1
)

// deviceProgram refuses to open the devices. Its context is the kernel's struct
// bpf_cgroup_dev_ctx (linux/bpf.h): access and kind, major, minor. Without a
// device there is none.
func deviceProgram(devices []Device) asm.Instructions {
	if len(devices) == 0 {
		return nil
	}
	const (
		kindBlock, kindCharacter = 1, 2
		accessReadWrite          = 2 | 4
	)
	code := asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, 0, asm.Word),
		asm.Mov.Reg(asm.R5, asm.R2),
		asm.RSh.Imm(asm.R5, 16),
		asm.And.Imm(asm.R5, accessReadWrite),
		asm.JEq.Imm(asm.R5, 0, "allow"), // mknod(2)
		asm.And.Imm(asm.R2, 0xffff),
		asm.LoadMem(asm.R3, asm.R1, 4, asm.Word),
		asm.LoadMem(asm.R4, asm.R1, 8, asm.Word),
	}
	for i, d := range devices {
		kind := int32(kindCharacter)
		if d.Block {
			kind = kindBlock
		}
		next := fmt.Sprintf("next%d", i)
		code = append(code,
			asm.JNE.Imm(asm.R2, kind, next),
			asm.JNE.Imm(asm.R3, int32(d.Major), next),
			asm.JEq.Imm(asm.R4, int32(d.Minor), "refuse"),
			// A jump needs something to land on.
			asm.Mov.Reg(asm.R2, asm.R2).WithSymbol(next),
		)
	}
	return append(code, verdicts()...)
}

// portProgram refuses ports of TCP to sockets of one network. Its context is the
// kernel's struct bpf_sock (linux/bpf.h). Without a port there is none.
func portProgram(ports []uint16, network uint64) asm.Instructions {
	if len(ports) == 0 {
		return nil
	}
	const (
		protocolOffset = 12
		portOffset     = 44 // in the host's byte order
	)
	code := asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, protocolOffset, asm.Word),
		asm.JNE.Imm(asm.R2, unix.IPPROTO_TCP, "allow"),
		asm.LoadMem(asm.R2, asm.R1, portOffset, asm.Word),
	}
	for _, p := range ports {
		code = append(code, asm.JEq.Imm(asm.R2, int32(p), "ours"))
	}
	code = append(code,
		asm.Ja.Label("allow"),
		asm.FnGetNetnsCookie.Call().WithSymbol("ours"),
		asm.LoadImm(asm.R2, int64(network), asm.DWord),
		asm.JEq.Reg(asm.R0, asm.R2, "refuse"),
	)
	return append(code, verdicts()...)
}

func verdicts() asm.Instructions {
	return asm.Instructions{
		asm.Mov.Imm(asm.R0, allow).WithSymbol("allow"),
		asm.Return(),
		asm.Mov.Imm(asm.R0, refuse).WithSymbol("refuse"),
		asm.Return(),
	}
}
