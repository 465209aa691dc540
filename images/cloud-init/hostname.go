package cloudinit

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/bulkhead-os/bulkhead/internal/hostname"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

// SetHostname names the machine, by a file that is the kernel's
// /proc/sys/kernel/hostname. A name that the network service got for a machine
// nobody named stays, should this service start again.
func SetHostname(cfg osconfig.Config, sysctl string) error {
	name, full := machineNames(cfg)
	if name == "" {
		if current := kernelHostname(); current != "" {
			name = osconfig.Hostname(current)
		} else {
			name = hostname.Default
		}
		full = name
	}
	if err := os.WriteFile(sysctl, []byte(name), 0); err != nil {
		return fmt.Errorf("set host name %s: %w", name, err)
	}
	return writeNames(layout.EtcDir, name, full, cfg.ManageEtcHosts != "false")
}

// machineNames returns the name of the machine, and that with its domain. Both are
// empty for a machine that nobody names.
func machineNames(cfg osconfig.Config) (name, full osconfig.Hostname) {
	switch {
	case cfg.PreserveHostname:
		return "", ""
	case cfg.FQDN == "":
		return cfg.Hostname, cfg.Hostname
	case cfg.PreferFQDN:
		return cfg.FQDN, cfg.FQDN
	case cfg.Hostname == "":
		return osconfig.Hostname(cfg.FQDN.Short()), cfg.FQDN
	}
	return cfg.Hostname, cfg.FQDN
}

// kernelHostname is the name the machine has, if anyone gave it one.
func kernelHostname() string {
	name, err := os.Hostname()
	if err != nil || name == "(none)" || name == "localhost" {
		return ""
	}
	return name
}

// writeNames writes hostname and hosts in place: both are bound into
// containers, which would keep a replaced file's old content.
func writeNames(dir string, name, full osconfig.Hostname, manageHosts bool) error {
	if err := os.WriteFile(filepath.Join(dir, "hostname"), []byte(string(name)+"\n"), 0o644); err != nil {
		return err
	}
	if !manageHosts {
		return nil
	}
	return os.WriteFile(filepath.Join(dir, "hosts"), []byte(hosts(name, full)), 0o644)
}

// hosts returns /etc/hosts with all forms of the machine's names.
func hosts(name, full osconfig.Hostname) string {
	names := []string{string(full)}
	for _, other := range []string{full.Short(), string(name), name.Short()} {
		if !slices.Contains(names, other) {
			names = append(names, other)
		}
	}
	return hostname.Hosts(names...)
}
