package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/bulkhead-os/bulkhead/internal/retry"
	"github.com/bulkhead-os/bulkhead/internal/tool"
)

// wireguard is the kernel's name of this kind of link.
const wireguard = "wireguard"

// tunnelRoutes are those networks behind a tunnel to which its addresses make
// no route. For everything there is none: what carries the tunnel would go
// through it.
func tunnelRoutes(t Target) (routes []netip.Prefix) {
	for _, peer := range t.WireGuard.Peers {
		for _, text := range peer.AllowedIPs {
			to, err := netip.ParsePrefix(string(text))
			near := func(a netip.Prefix) bool { return a.Bits() <= to.Bits() && a.Contains(to.Addr()) }
			if err == nil && to.Bits() > 0 && !slices.ContainsFunc(t.Addresses, near) && !slices.Contains(routes, to) {
				routes = append(routes, to)
			}
		}
	}
	return routes
}

// tunnelConfig returns keys and peers as wg(8) reads them, and by public key the
// endpoints that are names, which it must not wait for.
func tunnelConfig(t Target) (text string, names map[string]string) {
	var b strings.Builder
	names = make(map[string]string)
	fmt.Fprintf(&b, "[Interface]\nPrivateKey = %s\n", t.WireGuard.PrivateKey.Reveal())
	if port := t.WireGuard.ListenPort; port > 0 {
		fmt.Fprintf(&b, "ListenPort = %d\n", port)
	}
	for _, peer := range t.WireGuard.Peers {
		fmt.Fprintf(&b, "[Peer]\nPublicKey = %s\n", peer.PublicKey)
		if key := peer.PresharedKey.Reveal(); key != "" {
			fmt.Fprintf(&b, "PresharedKey = %s\n", key)
		}
		for _, network := range peer.AllowedIPs {
			fmt.Fprintf(&b, "AllowedIPs = %s\n", network)
		}
		if peer.PersistentKeepalive > 0 {
			fmt.Fprintf(&b, "PersistentKeepalive = %d\n", peer.PersistentKeepalive)
		}
		if endpoint := string(peer.Endpoint); endpoint != "" {
			if _, err := netip.ParseAddrPort(endpoint); err == nil {
				fmt.Fprintf(&b, "Endpoint = %s\n", endpoint)
			} else {
				names[string(peer.PublicKey)] = endpoint
			}
		}
	}
	return b.String(), names
}

// tunnels gives links of WireGuard their keys and peers.
type tunnels struct {
	log    *slog.Logger
	wg     func(ctx context.Context, input string, args ...string) error
	lookup func(ctx context.Context, host string) ([]string, error)
	// pause is the first one between two questions for an endpoint's address.
	pause time.Duration
	// set by the name of the link.
	done map[string]tunnelDone
}

// tunnelDone is what a link has.
type tunnelDone struct {
	config string
	// stop ends the search for endpoints.
	stop context.CancelFunc
}

func newTunnels(log *slog.Logger) *tunnels {
	return &tunnels{
		log: log, pause: time.Second, done: make(map[string]tunnelDone),
		wg: func(ctx context.Context, input string, args ...string) error {
			return tool.Run(ctx, input, append([]string{"wg"}, args...)...)
		},
		lookup: net.DefaultResolver.LookupHost,
	}
}

// set gives a link its keys and peers if they have changed. Sessions of peers
// that did not change go on.
func (s *tunnels) set(ctx context.Context, t Target) error {
	config, names := tunnelConfig(t)
	whole := config + fmt.Sprint(names)
	if s.done[t.Name].config == whole {
		return nil
	}
	s.forget(t.Name)
	if err := s.wg(ctx, config, "syncconf", t.Name, "/dev/stdin"); err != nil {
		return err
	}
	find, stop := context.WithCancel(ctx)
	for peer, endpoint := range names {
		go s.find(find, t.Name, peer, endpoint)
	}
	s.done[t.Name] = tunnelDone{whole, stop}
	return nil
}

// forget makes the next set do its work.
func (s *tunnels) forget(link string) {
	if d, ok := s.done[link]; ok {
		d.stop()
		delete(s.done, link)
	}
}

// find asks for the address of an endpoint until there is an answer: name
// servers may come later than the tunnel.
func (s *tunnels) find(ctx context.Context, link, peer, endpoint string) {
	backoff := retry.Backoff{First: s.pause, Last: time.Minute}
	for said := false; ctx.Err() == nil; {
		err := s.point(ctx, link, peer, endpoint)
		if err == nil {
			s.log.Info("tunnel has its endpoint", "link", link, "endpoint", endpoint)
			return
		}
		if !said && ctx.Err() == nil {
			said = true
			s.log.Warn("tunnel has no address of its endpoint yet; it is asked for again", "link", link, "endpoint", endpoint, "err", err)
		}
		_ = retry.Sleep(ctx, backoff.Next())
	}
}

func (s *tunnels) point(ctx context.Context, link, peer, endpoint string) error {
	host, port, err := net.SplitHostPort(endpoint)
	if err != nil {
		return err
	}
	addrs, err := s.lookup(ctx, host)
	if err != nil {
		return err
	}
	if len(addrs) == 0 {
		return errors.New("no address")
	}
	return s.wg(ctx, "", "set", link, "peer", peer, "endpoint", net.JoinHostPort(addrs[0], port))
}

// tunnelRoute is a route that leads into a tunnel.
func tunnelRoute(link netlink.Link, to netip.Prefix) *netlink.Route {
	return &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(to), Protocol: protoStatic, Scope: netlink.SCOPE_LINK}
}

// tunnelsRoutes are the routes that tunnelRoute has made.
func tunnelsRoutes(family, index int) (to []netip.Prefix, err error) {
	routes, err := netlink.RouteListFiltered(family, &netlink.Route{LinkIndex: index, Protocol: protoStatic},
		netlink.RT_FILTER_OIF|netlink.RT_FILTER_PROTOCOL)
	for _, r := range routes {
		if r.Dst == nil || r.Gw != nil {
			continue
		}
		if addr, ok := netip.AddrFromSlice(r.Dst.IP); ok {
			if ones, _ := r.Dst.Mask.Size(); ones > 0 {
				to = append(to, netip.PrefixFrom(addr.Unmap(), ones))
			}
		}
	}
	return to, err
}
