package qemutest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"
)

// Binary is the emulator that is run.
const Binary = "qemu-system-x86_64"

// Accel returns the accelerator to use, "kvm" or "tcg". E2E_ACCEL decides;
// without it KVM is used if a machine really runs under it.
func Accel() string {
	if a := os.Getenv("E2E_ACCEL"); a != "" {
		return a
	}
	if KVM() != nil {
		return "tcg"
	}
	return "kvm"
}

// KVM returns nil if a machine really runs under KVM. An open /dev/kvm that
// answers its API version is not enough: nested set-ups exist where a guest then
// hangs for ever.
func KVM() error { return probedKVM() }

// probedKVM runs the probe once per process; its answer cannot change.
var probedKVM = sync.OnceValue(func() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return probeKVM(ctx)
})

// probeKVM runs a boot sector that ends QEMU through the isa-debug-exit
// device. Under a working KVM that takes a fraction of a second.
func probeKVM(ctx context.Context) error {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("there is no KVM here: no /dev/kvm")
	case errors.Is(err, fs.ErrPermission):
		return errors.New("/dev/kvm is closed to this user: join the group kvm, or run this as root")
	case err != nil:
		return err
	}
	f.Close()
	sector, err := os.CreateTemp("", "kvm-probe-*")
	if err != nil {
		return err
	}
	defer os.Remove(sector.Name())
	defer sector.Close()
	// mov dx, 0xf4; mov al, 0x10; out dx, al; hlt
	boot := make([]byte, 512)
	copy(boot, []byte{0xba, 0xf4, 0x00, 0xb0, 0x10, 0xee, 0xf4})
	boot[510], boot[511] = 0x55, 0xaa
	if _, err := sector.Write(boot); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, Binary, "-machine", "q35,accel=kvm", "-cpu", "host", "-m", "32",
		"-nodefaults", "-display", "none", "-no-reboot",
		"-device", "isa-debug-exit,iobase=0xf4,iosize=0x04",
		"-drive", "if=ide,format=raw,file="+sector.Name())
	err = cmd.Run()
	// The device turns the written value v into the exit status v<<1|1.
	if cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == 0x10<<1|1 {
		return nil
	}
	return fmt.Errorf("/dev/kvm is there, but no machine runs under it: %w", err)
}

// Scaled multiplies a deadline that suits KVM by E2E_TIMEOUT_SCALE.
func Scaled(d time.Duration) time.Duration {
	scale := 1.0
	if Accel() != "kvm" {
		scale = 8
	}
	if s, err := strconv.ParseFloat(os.Getenv("E2E_TIMEOUT_SCALE"), 64); err == nil && s > 0 {
		scale = s
	}
	return time.Duration(float64(d) * scale)
}
