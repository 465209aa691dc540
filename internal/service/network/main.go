// Package network is two programs: network prepares the links and becomes
// dhcpcd; network-hook, which dhcpcd runs at each change, hands on what a
// network said: name servers, time servers, a host name. It neither leases nor
// configures addresses; dhcpcd does.
package network

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/oslog"
)

const dhcpcd = "/usr/sbin/dhcpcd"

// Main runs the program network. It does not return when all goes well.
func Main([]string) int {
	log := oslog.New("network")
	if err := run(); err != nil {
		log.Error("network service does not start", "err", err)
		return 1
	}
	return 0
}

func run() error {
	if err := linkUp("lo"); err != nil {
		return err
	}
	for _, dir := range []string{layout.NetworkDir, layout.NTPDir, "/run/dhcpcd"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	// In the foreground, with all messages on standard error.
	args := []string{"dhcpcd", "--nobackground"}
	if err := syscall.Exec(dhcpcd, args, os.Environ()); err != nil {
		return fmt.Errorf("run %s: %w", dhcpcd, err)
	}
	return nil
}

// linkUp sets the interface's flag IFF_UP (netdevice(7)).
func linkUp(name string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("link %s up: %w", name, err)
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq(name)
	if err != nil {
		return fmt.Errorf("link %s up: %w", name, err)
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, req); err != nil {
		return fmt.Errorf("link %s: read flags: %w", name, err)
	}
	req.SetUint16(req.Uint16() | unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req); err != nil {
		return fmt.Errorf("link %s up: %w", name, err)
	}
	return nil
}
