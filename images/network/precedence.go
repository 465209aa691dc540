package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/bulkhead-os/bulkhead/internal/retry"
	"github.com/bulkhead-os/bulkhead/os-config/datasource/platform"
)

const (
	// ownTable has copies of the routes to the machine's own networks, and a rule
	// of ownPriority has it looked at before the table that Docker's bridges are in.
	ownTable    = 100
	ownPriority = 100
	// routeSettle is how long to wait for further changes of routes.
	routeSettle = 200 * time.Millisecond
)

// A precedence keeps the machine reachable when a network of user Docker has the
// addresses of one that the machine is in: the routes of the machine's own
// interfaces win. What goes to the world is no part of it.
type precedence struct {
	log  *slog.Logger
	poke chan struct{}

	mu  sync.Mutex // guards what follows
	own []string   // the machine's interfaces
}

func newPrecedence(log *slog.Logger) *precedence {
	return &precedence{log: log, poke: make(chan struct{}, 1)}
}

// of says which interfaces are the machine's own. Their routes are watched anyway.
func (p *precedence) of(links []string) {
	p.mu.Lock()
	changed := !slices.Equal(p.own, links)
	p.own = links
	p.mu.Unlock()
	if changed {
		p.look()
	}
}

func (p *precedence) look() {
	select {
	case p.poke <- struct{}{}:
	default: // It will look anyway.
	}
}

// keep keeps the table until ctx ends. Routes stay when it does.
func (p *precedence) keep(ctx context.Context) {
	for ctx.Err() == nil {
		err := p.follow(ctx)
		if ctx.Err() == nil {
			p.log.Warn("routes of the machine's own networks", "err", err)
			_ = retry.Sleep(ctx, time.Second)
		}
	}
}

// follow does so until the kernel's messages stop coming.
func (p *precedence) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	updates := make(chan netlink.RouteUpdate, 64)
	err := netlink.RouteSubscribeWithOptions(updates, ctx.Done(), netlink.RouteSubscribeOptions{ErrorCallback: func(err error) { cancel(err) }})
	if err != nil {
		return fmt.Errorf("watch routes: %w", err)
	}
	p.look()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case u, ok := <-updates:
			if !ok {
				return errors.Join(errors.New("no more messages of the kernel"), context.Cause(ctx))
			}
			if u.Table == unix.RT_TABLE_MAIN {
				p.look()
			}
		case <-p.poke:
			_ = retry.Sleep(ctx, routeSettle)
			if err := p.sync(); err != nil {
				p.log.Warn("routes of the machine's own networks", "err", err)
			}
		}
	}
}

// sync makes the table what it has to be.
func (p *precedence) sync() error {
	p.mu.Lock()
	own := p.own
	p.mu.Unlock()
	var errs []error
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		errs = append(errs, syncFamily(family, own))
	}
	return errors.Join(errs...)
}

func syncFamily(family int, own []string) error {
	var found []netlink.Route
	for _, name := range own {
		link, err := netlink.LinkByName(name)
		if err != nil {
			continue // gone; there will be a message
		}
		routes, err := netlink.RouteListFiltered(family, &netlink.Route{LinkIndex: link.Attrs().Index, Table: unix.RT_TABLE_MAIN},
			netlink.RT_FILTER_OIF|netlink.RT_FILTER_TABLE)
		if err != nil {
			return fmt.Errorf("routes of %s: %w", name, err)
		}
		found = append(found, routes...)
	}
	want := ownRoutes(family, found)
	have, err := netlink.RouteListFiltered(family, &netlink.Route{Table: ownTable}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return fmt.Errorf("table %d: %w", ownTable, err)
	}
	var errs []error
	for _, r := range want {
		if err := netlink.RouteReplace(&r); err != nil {
			errs = append(errs, fmt.Errorf("route to %s: %w", r.Dst, err))
		}
	}
	for _, r := range have {
		if !slices.ContainsFunc(want, func(w netlink.Route) bool { return sameRoute(w, r) }) {
			errs = append(errs, netlink.RouteDel(&r))
		}
	}
	rule := netlink.NewRule()
	rule.Family, rule.Table, rule.Priority = family, ownTable, ownPriority
	if err := netlink.RuleAdd(rule); err != nil && !errors.Is(err, unix.EEXIST) {
		errs = append(errs, fmt.Errorf("rule %d: %w", ownPriority, err))
	}
	return errors.Join(errs...)
}

// ownRoutes returns what has to be in the table, of the routes of the machine's
// interfaces: those to its networks, and to where platforms describe their
// machines, so that no container can answer as one.
func ownRoutes(family int, found []netlink.Route) []netlink.Route {
	var want []netlink.Route
	for _, r := range found {
		if ofOwnNetwork(r) {
			want = append(want, inOwnTable(r, r.Dst))
		}
	}
	if family == netlink.FAMILY_V4 {
		for _, address := range platform.Addresses() {
			want = append(want, routeTo(address, found))
		}
	}
	return want
}

// routeTo returns the way to one address by the machine's interfaces. If there is
// none, nothing leads there.
func routeTo(address netip.Addr, found []netlink.Route) netlink.Route {
	dst := &net.IPNet{IP: address.AsSlice(), Mask: net.CIDRMask(32, 32)}
	best, bits := netlink.Route{}, -1
	for _, r := range found {
		ones := 0
		if r.Dst != nil {
			ones, _ = r.Dst.Mask.Size()
			if !r.Dst.Contains(dst.IP) {
				continue
			}
		}
		if ones > bits && r.Type == unix.RTN_UNICAST {
			best, bits = r, ones
		}
	}
	if bits < 0 {
		return netlink.Route{Dst: dst, Type: unix.RTN_UNREACHABLE, Protocol: protoStatic, Table: ownTable, Family: netlink.FAMILY_V4}
	}
	return inOwnTable(best, dst)
}

// ofOwnNetwork reports whether a route of one of the machine's interfaces leads to
// a network, and not to the world or to what every interface has.
func ofOwnNetwork(r netlink.Route) bool {
	if r.Dst == nil || r.Type != unix.RTN_UNICAST {
		return false
	}
	ones, _ := r.Dst.Mask.Size()
	return ones > 1 && !r.Dst.IP.IsLinkLocalUnicast() && !r.Dst.IP.IsMulticast()
}

func inOwnTable(r netlink.Route, dst *net.IPNet) netlink.Route {
	return netlink.Route{
		LinkIndex: r.LinkIndex, Dst: dst, Gw: r.Gw, Src: r.Src, Scope: r.Scope, Flags: r.Flags & int(netlink.FLAG_ONLINK),
		Priority: r.Priority, Protocol: protoStatic, Table: ownTable, Family: r.Family,
	}
}

func sameRoute(a, b netlink.Route) bool {
	return a.LinkIndex == b.LinkIndex && a.Priority == b.Priority && a.Gw.Equal(b.Gw) && sameNetwork(a.Dst, b.Dst)
}

func sameNetwork(a, b *net.IPNet) bool {
	return a != nil && b != nil && a.String() == b.String()
}
