package network

import (
	"fmt"
	"maps"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

// A Link is a network interface as the kernel has it.
type Link struct {
	Name string
	// Others are its alternative names, as other systems call it.
	Others []string
	// Driver is the kernel module of the hardware.
	Driver string
	// Kind is "device" for hardware, else the kernel's name of the kind.
	Kind string
	// MAC is the address of the hardware, also while a bond lends it another.
	MAC string
	// Made is how we made it, as Target.recipe says; empty for all others.
	Made      string
	Master    string
	MTU       int
	Up        bool
	Addresses []Address
	// Gateways are those of default routes that we or DHCP set.
	Gateways []netip.Addr
	// Routes are others that we set, of tunnels only.
	Routes []netip.Prefix
}

// An Address is an address of a link.
type Address struct {
	netip.Prefix
	// Lasting: nobody has to renew it.
	Lasting bool
}

// A Target is the wanted state of an interface.
type Target struct {
	Name string
	// From is the name that it has now, if that is another one.
	From string
	// Kind is what to make: "bond", "bridge", "wireguard", "vlan"; empty for an interface
	// that is there.
	Kind string
	// Parent and ID are a VLAN's.
	Parent string
	ID     int
	Bond   map[string]string
	// WireGuard has the keys and peers of a tunnel, Routes what is behind it.
	WireGuard osconfig.WireGuard
	Routes    []netip.Prefix
	Master    string
	MTU       int
	// Addresses, Gateways: in addition to those from DHCP.
	Addresses []netip.Prefix
	Gateways  []netip.Addr
	DHCP      bool
	IPv4LL    bool
	DHCPArgs  string
	PreUp     []osconfig.Command
	PostUp    []osconfig.Command

	key string // of its entry
}

// recipe says how an interface is made; one made in another way is recreated.
func (t Target) recipe() string {
	switch t.Kind {
	case "vlan":
		return fmt.Sprintf("vlan %d on %s", t.ID, t.Parent)
	case "bond":
		words := []string{"bond"}
		for _, k := range slices.Sorted(maps.Keys(t.Bond)) {
			words = append(words, k+"="+t.Bond[k])
		}
		return strings.Join(words, " ")
	}
	return t.Kind
}

// addressed reports whether the interface is to get an address from anywhere.
func (t Target) addressed() bool { return t.DHCP || t.IPv4LL || len(t.Addresses) > 0 }

// dynamic reports whether the DHCP client has work on the interface.
func (t Target) dynamic() bool { return t.DHCP || t.IPv4LL }

// usual is the configuration of a machine that nobody configured.
var usual = osconfig.Interfaces{"eth*": {DHCP: true}, "en*": {DHCP: true}}

// Plan says what each interface should be, in the order in which to set them
// up: hardware, bonds, bridges, tunnels, VLANs. It also returns what in the
// configuration has no effect; the rest counts all the same.
//
// Without configured interfaces, or if no configured one exists or can be
// made, each wired link asks for an address by DHCP: a machine whose hardware
// was replaced must still be reachable.
func Plan(cfg osconfig.Network, links []Link) ([]Target, []string) {
	if len(cfg.Interfaces) > 0 {
		p := planner{links: links, cfg: cfg.Interfaces}
		p.run()
		if slices.ContainsFunc(p.targets, func(t Target) bool { return t.Name != "lo" && t.Kind != wireguard }) {
			return p.targets, p.problems
		}
		// A tunnel needs another interface below it.
		q := planner{links: links, cfg: maps.Clone(usual)}
		for key, c := range cfg.Interfaces {
			if c.WireGuard.On() {
				q.cfg[key] = c
			}
		}
		q.run()
		if len(q.cfg) == len(usual)+len(cfg.Interfaces) {
			return q.targets, p.problems
		}
		return q.targets, append(p.problems, "no configured interface exists; DHCP on every wired link")
	}
	p := planner{links: links, cfg: usual}
	p.run()
	return p.targets, nil
}

type planner struct {
	links    []Link
	cfg      osconfig.Interfaces
	targets  []Target
	problems []string
	used     map[string]bool // keys of cfg
}

func (p *planner) problem(format string, args ...any) {
	p.problems = append(p.problems, "rancher.network.interfaces."+fmt.Sprintf(format, args...))
}

func (p *planner) run() {
	p.used = make(map[string]bool)
	kinds := p.kinds()
	meant := p.meant(kinds)
	byName := make(map[string]*Target)
	var order []*Target
	add := func(t Target) *Target {
		if byName[t.Name] != nil {
			p.problem("%s: there are two interfaces of this name; the second is left out", t.Name)
			return byName[t.Name]
		}
		byName[t.Name] = &t
		order = append(order, &t)
		return &t
	}
	var hardware []Target
	for _, l := range p.links {
		if kinds[l.Name] != "" || l.Made != "" {
			continue // one that we make
		}
		key, ok := p.match(l)
		if !ok {
			key, ok = meant[l.Name]
			p.used[key] = ok
		}
		if !ok {
			continue
		}
		t := p.target(key, l.Name, "")
		if name := string(p.cfg[key].SetName); name != "" && name != l.Name {
			t.Name, t.From = name, l.Name
		}
		hardware = append(hardware, t)
	}
	p.keepNames(hardware)
	for _, t := range hardware {
		add(t)
	}
	for _, kind := range []string{"bond", "bridge", wireguard} {
		for _, name := range slices.Sorted(maps.Keys(kinds)) {
			if kinds[name] == kind {
				key := p.named(name)
				add(p.target(key, name, kind))
			}
		}
	}
	for _, parent := range slices.Clone(order) {
		for _, v := range p.cfg[parent.key].VLANs {
			name := v.Name
			if name == "" {
				name = parent.Name + "." + strconv.Itoa(v.ID)
			}
			if len(name) > 15 {
				p.problem("%s.vlans: %s is longer than 15 characters; name it: %d:NAME", parent.Name, name, v.ID)
				continue
			}
			t := p.target(p.named(name), name, "vlan")
			t.Parent, t.ID = parent.Name, v.ID
			add(t)
		}
	}
	for _, t := range order {
		p.targets = append(p.targets, *t)
	}
	for _, key := range slices.Sorted(maps.Keys(p.cfg)) {
		if !p.used[key] {
			p.problem("%s: no such interface yet; there is %s", key, cards(p.links))
		}
	}
}

// kinds returns the interfaces to make. Bonds and bridges exist because they
// say so or because others are their members.
func (p *planner) kinds() map[string]string {
	kinds := make(map[string]string)
	for _, key := range slices.Sorted(maps.Keys(p.cfg)) {
		c := p.cfg[key]
		name := string(wants(key, c))
		plain := !strings.ContainsAny(name, "=*?[")
		switch {
		case c.Bridge == "true" && !plain, len(c.BondOpts) > 0 && !plain:
			p.problem("%s: a bridge or bond needs a name, not a pattern", key)
		case c.WireGuard.On() && !plain:
			p.problem("%s: a tunnel needs a name, not a pattern", key)
		case c.WireGuard.On() && (c.Bridge != "" || c.Bond != "" || len(c.BondOpts) > 0 || len(c.VLANs) > 0):
			p.problem("%s: a tunnel is no bridge or bond, a member of none, and has no VLANs", key)
		case c.WireGuard.On():
			kinds[name] = wireguard
		case c.Bridge == "true":
			kinds[name] = "bridge"
		case len(c.BondOpts) > 0:
			kinds[name] = "bond"
		}
		if c.Bridge != "" && c.Bridge != "true" && c.Bridge != "false" {
			kinds[c.Bridge] = "bridge"
		}
		if c.Bond != "" {
			kinds[c.Bond] = "bond"
		}
	}
	return kinds
}

// wants is the name or pattern of an entry.
func wants(key string, c osconfig.Interface) osconfig.InterfaceKey {
	if c.Match != "" {
		return c.Match
	}
	return osconfig.InterfaceKey(key)
}

// match finds the entry of a link and notes that the entry has one.
func (p *planner) match(l Link) (string, bool) {
	key, ok := best(p.cfg, l)
	if ok {
		p.used[key] = true
	}
	return key, ok
}

// best finds the entry that fits a link best.
func best(cfg osconfig.Interfaces, l Link) (string, bool) {
	found, rank := "", 0
	for _, key := range slices.Sorted(maps.Keys(cfg)) {
		want := string(wants(key, cfg[key]))
		r := l.fits(want)
		if string(cfg[key].SetName) == l.Name && !strings.ContainsAny(want, "=*?[") {
			r = max(r, 900) // it had the other name once
		}
		if r > rank {
			found, rank = key, r
		}
	}
	return found, rank > 0
}

// fits says how well a link fits what an entry wants, 0 for not at all: an
// address is more telling than a name, a name more than a pattern, the longer
// pattern more than the shorter, a driver least.
func (l Link) fits(want string) int {
	match := func(pattern, text string) bool {
		ok, _ := path.Match(pattern, text) // its form has been checked
		return ok && l.hardware()
	}
	of, value, _ := strings.Cut(want, "=")
	switch {
	case of == "mac":
		if match(strings.ToLower(value), strings.ToLower(l.MAC)) {
			return 2000
		}
	case of == "driver":
		if match(value, l.Driver) {
			return 1
		}
	case want == l.Name:
		return 1000
	case slices.Contains(l.Others, want):
		return 900
	case match(want, l.Name), slices.ContainsFunc(l.Others, func(other string) bool { return match(want, other) }):
		return 1 + len(want)
	}
	return 0
}

// hardware: patterns mean network cards, not what is made on top of them.
func (l Link) hardware() bool { return l.Kind == "device" || l.Kind == "dummy" }

// card holds for hardware with a cable, as far as names tell.
func (l Link) card() bool {
	return l.Kind == "device" && l.Name != "lo" && !strings.HasPrefix(l.Name, "w")
}

// meant finds what an entry means that fits nothing: names of another system
// (ens18, lan0) are clear if one such entry and one card are left, and a pattern
// of them (en*) means all cards that are left. The result has the entries by the
// names of the links.
func (p *planner) meant(kinds map[string]string) map[string]string {
	var left []Link
	fits := make(map[string]bool)
	for _, l := range p.links {
		if key, ok := best(p.cfg, l); ok {
			fits[key] = true
		} else if l.card() && l.Made == "" && l.Master == "" {
			left = append(left, l)
		}
	}
	var unclear []string
	for key, c := range p.cfg {
		if name := string(wants(key, c)); !fits[key] && kinds[name] == "" && !p.isVLAN(name) {
			unclear = append(unclear, key)
		}
	}
	if len(unclear) != 1 {
		return nil
	}
	key := unclear[0]
	name := string(wants(key, p.cfg[key]))
	if kernelsName.MatchString(name) || strings.Contains(name, "=") || !strings.ContainsAny(name, "*?[") && len(left) != 1 {
		return nil
	}
	meant := make(map[string]string)
	for _, l := range left {
		meant[l.Name] = key
	}
	return meant
}

// kernelsName is what the kernel calls interfaces, or a pattern of it: who
// writes that means no other card.
var kernelsName = regexp.MustCompile(`^(eth|wlan|usb|lo)([0-9*?\[]|$)`)

// isVLAN holds for the names of VLANs that the configuration makes.
func (p *planner) isVLAN(name string) bool {
	for key, c := range p.cfg {
		for _, v := range c.VLANs {
			if v.Name == name || fmt.Sprintf("%s.%d", wants(key, c), v.ID) == name {
				return true
			}
		}
	}
	return false
}

// keepNames takes back new names that another interface has and keeps.
func (p *planner) keepNames(targets []Target) {
	leaves := make(map[string]bool)
	for _, t := range targets {
		leaves[t.From] = true
	}
	for n := range targets {
		t := &targets[n]
		taken := slices.ContainsFunc(p.links, func(l Link) bool {
			return l.Name != t.From && !leaves[l.Name] && (l.Name == t.Name || slices.Contains(l.Others, t.Name))
		})
		if t.From != "" && taken {
			p.problem("%s.set_name: another interface is %s; this one stays %s", t.key, t.Name, t.From)
			t.Name, t.From = t.From, ""
		}
	}
}

// cards returns the names of the machine's network cards.
func cards(links []Link) string {
	var names []string
	for _, l := range links {
		if l.card() {
			also := ""
			if len(l.Others) > 0 {
				also = ", also " + strings.Join(l.Others, ", ")
			}
			names = append(names, fmt.Sprintf("%s%s (%s)", l.Name, also, l.MAC))
		}
	}
	if len(names) == 0 {
		return "no network card"
	}
	return strings.Join(names, ", ")
}

// named finds the entry of an interface that we make.
func (p *planner) named(name string) string {
	for _, key := range slices.Sorted(maps.Keys(p.cfg)) {
		if string(wants(key, p.cfg[key])) == name {
			p.used[key] = true
			return key
		}
	}
	return ""
}

func (p *planner) target(key, name, kind string) Target {
	c := p.cfg[key]
	t := Target{
		Name: name, Kind: kind, MTU: int(c.MTU), DHCP: c.DHCP, DHCPArgs: c.DHCPArgs, IPv4LL: c.IPv4LL,
		PreUp: c.PreUp, PostUp: c.PostUp, key: key,
	}
	switch kind {
	case "bond":
		t.Bond = c.BondOpts
	case wireguard:
		t.WireGuard = c.WireGuard
		if t.dynamic() {
			p.problem("%s: a tunnel has no DHCP; give it an address", key)
			t.DHCP, t.IPv4LL = false, false
		}
	}
	for _, a := range append([]osconfig.CIDR{c.Address}, c.Addresses...) {
		if prefix, err := netip.ParsePrefix(string(a)); err == nil && !slices.Contains(t.Addresses, prefix) {
			t.Addresses = append(t.Addresses, prefix)
		}
	}
	if kind == wireguard {
		t.Routes = tunnelRoutes(t)
	}
	for _, g := range []osconfig.Address{c.Gateway, c.GatewayIPv6} {
		if addr, err := netip.ParseAddr(string(g)); err == nil {
			t.Gateways = append(t.Gateways, addr)
		}
	}
	switch {
	case c.Bond != "":
		t.Master = c.Bond
	case c.Bridge != "" && c.Bridge != "true" && c.Bridge != "false":
		t.Master = c.Bridge
	}
	if t.Master == name {
		p.problem("%s: it cannot be a member of itself", key)
		t.Master = ""
	}
	if t.Master != "" && (t.addressed() || len(t.Gateways) > 0) {
		p.problem("%s: addresses belong to %s, which it is a member of", key, t.Master)
		t.Addresses, t.Gateways, t.DHCP, t.IPv4LL = nil, nil, false, false
	}
	return t
}
