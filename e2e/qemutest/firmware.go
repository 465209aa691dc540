package qemutest

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// Files of OVMF, as Debian's and Ubuntu's package ovmf names them.
const (
	firmwareCode = "OVMF_CODE_4M.fd"
	firmwareVars = "OVMF_VARS_4M.fd"
)

// firmware returns the path of a file of OVMF. It lies beside the emulator that
// is run: /usr/bin/qemu has /usr/share, and so it is in the tree that
// cmd/mkos -machine-tools unpacks.
func firmware(name string) string {
	prefix := "/usr"
	if qemu, err := exec.LookPath(Binary); err == nil {
		prefix = filepath.Dir(filepath.Dir(qemu))
	}
	return filepath.Join(prefix, "share/OVMF", name)
}

// copyFirmwareVars gives a machine its own UEFI variable store.
func copyFirmwareVars(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil // a machine that is started again keeps its variables
	}
	from, err := os.Open(firmware(firmwareVars))
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
