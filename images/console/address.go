package console

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"time"

	"golang.org/x/sys/unix"
)

const (
	issue = "/etc/issue"
	// agettyReload is the file whose change makes agetty print the issue again.
	agettyReload = "/run/agetty.reload"
	// addressPause is how long to wait for further changes: a lease brings
	// several.
	addressPause = time.Second
)

// followAddress keeps the address in the login prompt right until ctx ends.
// agetty's own \4 takes any interface's, Docker's too, or the name's from
// /etc/hosts.
func (c *console) followAddress(ctx context.Context) {
	changes, err := subscribeAddresses()
	if err != nil {
		c.log.Warn("the address in the login prompt stays as it is", "err", err)
	}
	if changes != nil {
		defer context.AfterFunc(ctx, func() { changes.Close() })()
	}
	for ctx.Err() == nil {
		if err := writeIssue(machineAddress()); err != nil {
			c.log.Warn("login prompt", "err", err)
		}
		if changes == nil {
			return
		}
		if err := awaitChange(ctx, changes); err != nil {
			return
		}
	}
}

// awaitChange waits for a message and a pause after it, and takes all that came
// meanwhile. An overflow of the socket (ENOBUFS) is a message as well.
func awaitChange(ctx context.Context, changes *os.File) error {
	buf := make([]byte, 16<<10)
	if _, err := changes.Read(buf); errors.Is(err, os.ErrClosed) {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(addressPause):
	}
	if err := changes.SetReadDeadline(time.Now()); err != nil {
		return err
	}
	for {
		if _, err := changes.Read(buf); errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, os.ErrClosed) {
			return changes.SetReadDeadline(time.Time{})
		}
	}
}

// subscribeAddresses opens a socket that has a message for each change of
// addresses and routes.
func subscribeAddresses() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open the rtnetlink socket: %w", err)
	}
	const groups = unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR | unix.RTMGRP_IPV4_ROUTE
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("bind the rtnetlink socket: %w", err)
	}
	return os.NewFile(uintptr(fd), "rtnetlink"), nil
}

// writeIssue writes the text before the login prompt, and has it printed if it
// is another one.
func writeIssue(address netip.Addr) error {
	text := issueText(address)
	if old, err := os.ReadFile(issue); err == nil && string(old) == text {
		return nil
	}
	if err := os.WriteFile(issue, []byte(text), 0o644); err != nil {
		return err
	}
	return os.WriteFile(agettyReload, []byte("\n"), 0o644)
}

func issueText(address netip.Addr) string {
	const name = "\\S{PRETTY_NAME} - \\n - \\l\n"
	if !address.IsValid() {
		return name + "Log in as rancher here. The machine has no address yet.\n\n"
	}
	return name + "Log in as rancher here or with: ssh rancher@" + address.String() + "\n\n"
}

// machineAddress returns the address that others reach the machine by, as far
// as it can tell: the one it talks to the world from, or else one of an
// interface that is not Docker's.
func machineAddress() netip.Addr {
	for _, far := range []string{"192.0.2.1:9", "[2001:db8::1]:9"} { // documentation's: nothing is sent
		conn, err := net.Dial("udp", far)
		if err != nil {
			continue
		}
		address := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
		conn.Close()
		if address.IsGlobalUnicast() {
			return address
		}
	}
	links, _ := net.Interfaces() // without any there is no address
	for _, link := range links {
		if dockersLink.MatchString(link.Name) {
			continue
		}
		addresses, _ := link.Addrs() // it may have gone
		if a := usable(addresses); a.IsValid() {
			return a
		}
	}
	return netip.Addr{}
}

// dockersLink is the name of an interface that Docker makes.
var dockersLink = regexp.MustCompile(`^(docker.*|br-[0-9a-f]{12}|veth.*)$`)

// usable returns the first address that is not only the link's, IPv4 before
// IPv6.
func usable(addresses []net.Addr) netip.Addr {
	var found netip.Addr
	for _, a := range addresses {
		p, err := netip.ParsePrefix(a.String())
		if err != nil || !p.Addr().IsGlobalUnicast() {
			continue
		}
		if !found.IsValid() || found.Is6() && p.Addr().Is4() {
			found = p.Addr()
		}
	}
	return found
}
