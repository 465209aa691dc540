package health

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/bulkhead-os/bulkhead/internal/layout"
)

// network holds when dhcpcd answers, if it has work, and no plugged-in
// interface that needs an address has none. A machine without any has a
// healthy network service.
func network(ctx context.Context) error {
	if _, err := os.Stat(layout.DHCPConfig); err == nil {
		if err := socket("unix", "/run/dhcpcd/sock")(ctx); err != nil {
			return err
		}
	}
	plan, err := os.ReadFile(layout.NetworkLinks)
	if err != nil {
		return err
	}
	all, err := net.Interfaces()
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	var links []link
	for _, ifi := range all {
		addrs, err := ifi.Addrs()
		if err != nil {
			return fmt.Errorf("addresses of %s: %w", ifi.Name, err)
		}
		links = append(links, link{ifi.Name, ifi.Flags, addrs})
	}
	var planned []string
	for line := range strings.Lines(string(plan)) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		planned = append(planned, name)
	}
	return judge(links, planned)
}

// A link is a network interface with its addresses.
type link struct {
	name  string
	flags net.Flags
	addrs []net.Addr
}

// judge names those of the planned links that have a carrier but no address. It
// is content when another one has one: a second port on a network without DHCP
// is no fault of the service.
func judge(links []link, planned []string) error {
	var bare []string
	for _, l := range links {
		if !slices.Contains(planned, l.name) || l.flags&net.FlagRunning == 0 {
			continue
		}
		if hasAddress(l.addrs) {
			return nil
		}
		bare = append(bare, l.name)
	}
	if len(bare) == 0 {
		return nil
	}
	return errors.New("no address on " + strings.Join(bare, ", "))
}

// hasAddress ignores IPv6 link-local addresses: every link that is up has one.
func hasAddress(addrs []net.Addr) bool {
	for _, a := range addrs {
		ip, _, err := net.ParseCIDR(a.String())
		if err == nil && !(ip.To4() == nil && ip.IsLinkLocalUnicast()) {
			return true
		}
	}
	return false
}
