package health

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
)

// network holds when dhcpcd answers and no plugged-in link is without an
// address. A machine without any link has a healthy network service.
func network(ctx context.Context) error {
	if err := socket("unix", "/run/dhcpcd/sock")(ctx); err != nil {
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
	return judge(links)
}

// A link is a network interface with its addresses.
type link struct {
	name  string
	flags net.Flags
	addrs []net.Addr
}

// judge names the wired links that have a carrier but no address. It is
// content when another link has one: a second port on a network without DHCP
// is no fault of the service.
func judge(links []link) error {
	var bare []string
	for _, l := range links {
		if !wired(l.name) || l.flags&net.FlagRunning == 0 {
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

// wired goes by the kernel's names, which udev leaves alone here.
func wired(name string) bool {
	return strings.HasPrefix(name, "eth") || strings.HasPrefix(name, "en")
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
