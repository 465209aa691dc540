package qemutest

import (
	"fmt"
	"io"
	"os"
)

// OVMF as Debian's and Ubuntu's package ovmf installs it.
const (
	firmwareCode = "/usr/share/OVMF/OVMF_CODE_4M.fd"
	firmwareVars = "/usr/share/OVMF/OVMF_VARS_4M.fd"
)

// copyFirmwareVars gives a machine its own UEFI variable store.
func copyFirmwareVars(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil // a machine that is started again keeps its variables
	}
	from, err := os.Open(firmwareVars)
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
