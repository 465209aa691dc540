package qemutest

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// A firmware is OVMF as Debian's and Ubuntu's package ovmf has it: its code, and
// the variables of a new machine.
type firmware struct{ code, vars string }

// firmware lies beside the emulator that is run: /usr/bin/qemu has /usr/share, and
// so it is in the tree that cmd/mkos -machine-tools unpacks.
func (o Options) firmware() firmware {
	prefix := "/usr"
	if qemu, err := exec.LookPath(Binary); err == nil {
		prefix = filepath.Dir(filepath.Dir(qemu))
	}
	dir := filepath.Join(prefix, "share/OVMF")
	if o.SecureBoot {
		return firmware{filepath.Join(dir, "OVMF_CODE_4M.ms.fd"), filepath.Join(dir, "OVMF_VARS_4M.ms.fd")}
	}
	return firmware{filepath.Join(dir, "OVMF_CODE_4M.fd"), filepath.Join(dir, "OVMF_VARS_4M.fd")}
}

// copyVars gives a machine its own UEFI variable store.
func (f firmware) copyVars(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil // a machine that is started again keeps its variables
	}
	from, err := os.Open(f.vars)
	if err != nil {
		return fmt.Errorf("UEFI firmware (Debian package ovmf): %w", err)
	}
	defer from.Close()
	to, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err := io.Copy(to, from); err != nil {
		to.Close()
		return err
	}
	return to.Close()
}
