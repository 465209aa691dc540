package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// aliasPrefix marks the interfaces that we made. The rest of the alias is how.
const aliasPrefix = "bulkhead: "

// Marks of default routes (rtnetlink(7)): a route carries the mark of the program that set it.
const (
	protoStatic = unix.RTPROT_STATIC
	protoDHCP   = unix.RTPROT_DHCP
	protoRA     = unix.RTPROT_RA
)

// metricBase is added to a link's number, so that two links' default routes
// are two, and both are better than those from DHCP, which begin with 1000.
const metricBase = 100

// A kernel is the network as the kernel has it.
type kernel struct{}

// setDefaults sets what suits every configuration.
func setDefaults() error {
	return errors.Join(
		// When the first of an interface's addresses of a network goes, the
		// others stay.
		os.WriteFile("/proc/sys/net/ipv4/conf/all/promote_secondaries", []byte("1"), 0o644),
		// ping needs no privilege, as with systemd.
		os.WriteFile("/proc/sys/net/ipv4/ping_group_range", []byte("0 2147483647"), 0o644),
	)
}

// links lists the interfaces.
func (k kernel) links() ([]Link, error) {
	all, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	names := make(map[int]string, len(all))
	for _, l := range all {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	var links []Link
	for _, l := range all {
		link, err := k.link(l, names)
		if _, gone := errors.AsType[netlink.LinkNotFoundError](err); gone || errors.Is(err, unix.ENODEV) {
			continue
		}
		if err != nil {
			return nil, err
		}
		links = append(links, link)
	}
	slices.SortFunc(links, func(a, b Link) int { return strings.Compare(a.Name, b.Name) })
	return links, nil
}

func (kernel) link(l netlink.Link, names map[int]string) (Link, error) {
	attrs := l.Attrs()
	mac := attrs.PermHWAddr
	if len(mac) == 0 {
		mac = attrs.HardwareAddr
	}
	link := Link{
		Name: attrs.Name, Others: attrs.AltNames, Driver: driver(attrs.Name), Kind: l.Type(), MAC: mac.String(), MTU: attrs.MTU,
		Up: attrs.Flags&net.FlagUp != 0, Master: names[attrs.MasterIndex],
	}
	link.Made, _ = strings.CutPrefix(attrs.Alias, aliasPrefix)
	if link.Made == attrs.Alias {
		link.Made = ""
	}
	addrs, err := netlink.AddrList(l, netlink.FAMILY_ALL)
	if err != nil {
		return link, fmt.Errorf("addresses of %s: %w", attrs.Name, err)
	}
	for _, a := range addrs {
		if ip, ok := netip.AddrFromSlice(a.IP); ok {
			ones, _ := a.Mask.Size()
			link.Addresses = append(link.Addresses, Address{
				Prefix:  netip.PrefixFrom(ip.Unmap(), ones),
				Lasting: a.Flags&unix.IFA_F_PERMANENT != 0,
			})
		}
	}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := netlink.RouteListFiltered(family, &netlink.Route{LinkIndex: attrs.Index, Dst: nil},
			netlink.RT_FILTER_OIF|netlink.RT_FILTER_DST)
		if err != nil {
			return link, fmt.Errorf("routes of %s: %w", attrs.Name, err)
		}
		for _, r := range routes {
			gw, ok := netip.AddrFromSlice(r.Gw)
			if ok && (r.Protocol == protoStatic || r.Protocol == protoDHCP || r.Protocol == protoRA) {
				link.Gateways = append(link.Gateways, gw.Unmap())
			}
		}
		if link.Made == wireguard {
			routes, err := tunnelsRoutes(family, attrs.Index)
			if err != nil {
				return link, fmt.Errorf("routes of %s: %w", attrs.Name, err)
			}
			link.Routes = append(link.Routes, routes...)
		}
	}
	return link, nil
}

// driver returns the kernel module of an interface's hardware, or "".
func driver(name string) string {
	module, err := os.Readlink("/sys/class/net/" + name + "/device/driver")
	if err != nil {
		return "" // it is no hardware
	}
	return filepath.Base(module)
}

// do makes one change.
func (kernel) do(a Action) error {
	if a.Op == Make {
		return makeLink(*a.Target)
	}
	link, err := netlink.LinkByName(a.Link)
	if err != nil {
		return err
	}
	switch a.Op {
	case Delete:
		return netlink.LinkDel(link)
	case Rename:
		if slices.Contains(link.Attrs().AltNames, a.Name) {
			if err := netlink.LinkDelAltName(link, a.Name); err != nil {
				return err
			}
		}
		return netlink.LinkSetName(link, a.Name)
	case Join:
		master, err := netlink.LinkByName(a.Master)
		if err != nil {
			return err
		}
		return netlink.LinkSetMaster(link, master)
	case Leave:
		return netlink.LinkSetNoMaster(link)
	case SetMTU:
		return netlink.LinkSetMTU(link, a.MTU)
	case SetUp:
		return netlink.LinkSetUp(link)
	case SetDown:
		return netlink.LinkSetDown(link)
	case AddAddress:
		return netlink.AddrReplace(link, &netlink.Addr{IPNet: ipNet(a.Address)})
	case RemoveAddress:
		return netlink.AddrDel(link, &netlink.Addr{IPNet: ipNet(a.Address)})
	case AddGateway:
		return netlink.RouteReplace(defaultRoute(link, a.Gateway))
	case RemoveGateway:
		return removeGateway(link, a.Gateway)
	case AddRoute:
		return netlink.RouteReplace(tunnelRoute(link, a.Address))
	case RemoveRoute:
		return netlink.RouteDel(tunnelRoute(link, a.Address))
	}
	return errors.New("BUG: unknown change")
}

// makeLink makes a bond, bridge, tunnel or VLAN and marks it as ours.
func makeLink(t Target) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = t.Name
	var link netlink.Link
	var errs []error
	switch t.Kind {
	case "bond":
		link, errs = newBond(attrs, t.Bond)
	case "bridge":
		link = &netlink.Bridge{LinkAttrs: attrs}
	case wireguard:
		link = &netlink.Wireguard{LinkAttrs: attrs}
	case "vlan":
		parent, err := netlink.LinkByName(t.Parent)
		if err != nil {
			return fmt.Errorf("%s: %w", t.Parent, err)
		}
		attrs.ParentIndex = parent.Attrs().Index
		link = &netlink.Vlan{LinkAttrs: attrs, VlanId: t.ID, VlanProtocol: netlink.VLAN_PROTOCOL_8021Q}
	}
	err := netlink.LinkAdd(link)
	if errors.Is(err, unix.EEXIST) && t.Kind == "bond" {
		// The driver, loaded for this, makes a bond0 of its own.
		if err = netlink.LinkDel(link); err == nil {
			err = netlink.LinkAdd(link)
		}
	}
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	return errors.Join(append(errs, netlink.LinkSetAlias(link, aliasPrefix+t.recipe()))...)
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func defaultRoute(link netlink.Link, gateway netip.Addr) *netlink.Route {
	r := &netlink.Route{
		LinkIndex: link.Attrs().Index, Gw: gateway.AsSlice(), Protocol: protoStatic,
		Priority: metricBase + link.Attrs().Index,
		Dst:      &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)},
		// Clouds give single addresses whose router is in no network of theirs.
		Flags: int(netlink.FLAG_ONLINK),
	}
	if gateway.Is6() {
		r.Dst = &net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}
	}
	return r
}

func removeGateway(link netlink.Link, gateway netip.Addr) error {
	family := netlink.FAMILY_V4
	if gateway.Is6() {
		family = netlink.FAMILY_V6
	}
	routes, err := netlink.RouteListFiltered(family, &netlink.Route{LinkIndex: link.Attrs().Index, Gw: gateway.AsSlice()},
		netlink.RT_FILTER_OIF|netlink.RT_FILTER_GW|netlink.RT_FILTER_DST)
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range routes {
		errs = append(errs, netlink.RouteDel(&r))
	}
	return errors.Join(errs...)
}

// watch subscribes to the kernel's messages. The returned function calls
// changed whenever an interface comes, goes, or has other names; it returns when ctx
// ends or the messages stop coming.
func (kernel) watch(ctx context.Context, changed func()) (follow func() error, err error) {
	updates := make(chan netlink.LinkUpdate, 64)
	ctx, cancel := context.WithCancelCause(ctx)
	err = netlink.LinkSubscribeWithOptions(updates, ctx.Done(), netlink.LinkSubscribeOptions{ErrorCallback: func(err error) { cancel(err) }})
	if err != nil {
		cancel(nil)
		return nil, fmt.Errorf("watch links: %w", err)
	}
	return func() error {
		defer cancel(nil)
		known := make(map[int32]string)
		for u := range updates {
			attrs, gone := u.Attrs(), u.Header.Type == unix.RTM_DELLINK
			name := strings.Join(append([]string{attrs.Name}, attrs.AltNames...), " ") // udev adds some
			switch {
			case gone:
				delete(known, u.Index)
			case known[u.Index] == name:
				continue // its state
			default:
				known[u.Index] = name
			}
			changed()
		}
		return context.Cause(ctx)
	}, nil
}
