package cloudinit

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/bulkhead-os/bulkhead/internal/layout"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

// hostnameSysctl is the host's /proc/sys/kernel/hostname, bound by the
// declaration: unlike sethostname(2) it takes no capability.
const hostnameSysctl = "/run/host/hostname"

// setHostname names the machine. A name that the network service got for a
// machine nobody named stays, should this service start again.
func setHostname(name osconfig.Hostname) error {
	if name == "" {
		if current := kernelHostname(); current != "" {
			name = osconfig.Hostname(current)
		} else {
			name = osconfig.DefaultHostname
		}
	}
	if err := os.WriteFile(hostnameSysctl, []byte(name), 0); err != nil {
		return fmt.Errorf("set host name %s: %w", name, err)
	}
	return writeNames(layout.EtcDir, name)
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
func writeNames(dir string, name osconfig.Hostname) error {
	if err := os.WriteFile(filepath.Join(dir, "hostname"), []byte(string(name)+"\n"), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "hosts"), []byte(hosts(name)), 0o644)
}

// hosts returns /etc/hosts in the way of Debian, where 127.0.1.1 is the
// machine itself also without a network.
func hosts(name osconfig.Hostname) string {
	names := string(name)
	if short := name.Short(); short != names {
		names += " " + short
	}
	return strings.Join([]string{
		"127.0.0.1 localhost",
		"127.0.1.1 " + names,
		"::1 localhost ip6-localhost ip6-loopback",
		"ff02::1 ip6-allnodes",
		"ff02::2 ip6-allrouters",
		"",
	}, "\n")
}
