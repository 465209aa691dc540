package vmguest

import (
	"fmt"
	"runtime/debug"
)

// in executes the instruction IN with the registers.
//
//go:noescape
func in(r *registers)

// backdoor calls the hypervisor. Anywhere but on VMware, and where VMware's
// settings close the door, the instruction is a fault.
func backdoor(r *registers) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("%w: %v", ErrNoHypervisor, fault)
		}
	}()
	in(r)
	return nil
}
