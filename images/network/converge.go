package network

import (
	"fmt"
	"net/netip"
	"slices"
)

// An Op is a kind of change.
type Op int

// The changes.
const (
	Make Op = iota
	Delete
	Rename
	Join  // become a member of Action.Master
	Leave // be no member any more
	SetMTU
	SetUp
	SetDown
	AddAddress
	RemoveAddress
	AddGateway
	RemoveGateway
	AddRoute // to Action.Address
	RemoveRoute
)

// An Action is one change of one interface.
type Action struct {
	Op      Op
	Link    string
	Target  *Target // what to make
	Name    string  // to give
	Master  string
	MTU     int
	Address netip.Prefix
	Gateway netip.Addr
}

func (a Action) String() string {
	switch a.Op {
	case Make:
		return "make " + a.Link + ": " + a.Target.recipe()
	case Delete:
		return "delete " + a.Link
	case Rename:
		return "rename " + a.Link + " to " + a.Name
	case Join:
		return "put " + a.Link + " into " + a.Master
	case Leave:
		return "take " + a.Link + " out of what it is a member of"
	case SetMTU:
		return fmt.Sprintf("set MTU of %s to %d", a.Link, a.MTU)
	case SetUp:
		return "switch " + a.Link + " on"
	case SetDown:
		return "switch " + a.Link + " off"
	case AddAddress:
		return "add " + a.Address.String() + " to " + a.Link
	case RemoveAddress:
		return "remove " + a.Address.String() + " from " + a.Link
	case AddGateway:
		return "add default route by " + a.Gateway.String() + " on " + a.Link
	case RemoveGateway:
		return "remove default route by " + a.Gateway.String() + " on " + a.Link
	case AddRoute:
		return "add route to " + a.Address.String() + " on " + a.Link
	case RemoveRoute:
		return "remove route to " + a.Address.String() + " on " + a.Link
	}
	return "BUG: unknown change"
}

// structure returns what to make and delete so that each target exists.
// Bonds and bridges come before what is on top of them.
func structure(targets []Target, links []Link) []Action {
	wanted := make(map[string]Target)
	for _, t := range targets {
		wanted[t.Name] = t
	}
	var actions []Action
	there := make(map[string]bool)
	for _, l := range links {
		t := wanted[l.Name]
		if l.Made != "" && l.Made != t.recipe() || l.Made == "" && t.Kind != "" && l.Kind == t.Kind {
			actions = append(actions, Action{Op: Delete, Link: l.Name})
			continue
		}
		there[l.Name] = true
	}
	actions = append(actions, renames(targets, there)...)
	made := make(map[string]bool)
	for _, t := range targets {
		// With its parent a VLAN goes too.
		if t.Kind != "" && (!there[t.Name] || t.Kind == "vlan" && made[t.Parent]) {
			actions = append(actions, Action{Op: Make, Link: t.Name, Target: &t})
			made[t.Name] = true
		}
	}
	return actions
}

// renames gives interfaces their names. Those that take each other's go by a
// third name.
func renames(targets []Target, there map[string]bool) (actions []Action) {
	var last []Action
	for n, t := range targets {
		if t.From == "" {
			continue
		}
		from := t.From
		if there[t.Name] {
			from = fmt.Sprintf("rename%d", n)
			actions = append(actions, Action{Op: Rename, Link: t.From, Name: from})
		}
		last = append(last, Action{Op: Rename, Link: from, Name: t.Name})
	}
	return append(actions, last...)
}

// setup returns what to change so that an existing interface is as the target
// says. leased are the addresses that the DHCP client has set.
func setup(t Target, l Link, ours map[string]bool, leased []netip.Addr) []Action {
	var before, after []Action
	do := func(a Action) {
		a.Link = t.Name
		before = append(before, a)
	}
	switch {
	case t.Master != "" && l.Master != t.Master:
		if l.Up {
			// The kernel makes no member of a bond out of one that is on.
			do(Action{Op: SetDown})
			l.Up = false
		}
		do(Action{Op: Join, Master: t.Master})
	case t.Master == "" && ours[l.Master]:
		do(Action{Op: Leave})
	}
	if t.MTU != 0 && l.MTU != t.MTU {
		do(Action{Op: SetMTU, MTU: t.MTU})
	}
	// Nothing is taken away before what replaces it is there.
	for _, a := range l.Addresses {
		if !slices.Contains(t.Addresses, a.Prefix) && !t.keeps(a, leased) {
			after = append(after, Action{Op: RemoveAddress, Link: t.Name, Address: a.Prefix})
		}
	}
	for _, r := range l.Routes {
		if !slices.Contains(t.Routes, r) {
			after = append(after, Action{Op: RemoveRoute, Link: t.Name, Address: r})
		}
	}
	if !t.dynamic() {
		for _, g := range l.Gateways {
			if !slices.Contains(t.Gateways, g) {
				after = append(after, Action{Op: RemoveGateway, Link: t.Name, Gateway: g})
			}
		}
	}
	if !l.Up {
		do(Action{Op: SetUp})
	}
	for _, a := range t.Addresses {
		if !slices.ContainsFunc(l.Addresses, func(have Address) bool { return have.Prefix == a && have.Lasting }) {
			do(Action{Op: AddAddress, Address: a})
		}
	}
	for _, g := range t.Gateways {
		if !slices.Contains(l.Gateways, g) {
			do(Action{Op: AddGateway, Gateway: g})
		}
	}
	for _, r := range t.Routes {
		if !slices.Contains(l.Routes, r) {
			do(Action{Op: AddRoute, Address: r})
		}
	}
	return append(before, after...)
}

// keeps reports whether an address that is not configured may stay.
func (t Target) keeps(a Address, leased []netip.Addr) bool {
	switch {
	case a.Addr().IsLinkLocalUnicast() && (a.Addr().Is6() || t.IPv4LL), a.Addr().IsLoopback():
		return true
	case !t.dynamic():
		return false
	}
	// What lasts and is no lease was configured once.
	return a.Addr().Is6() || !a.Lasting || slices.Contains(leased, a.Addr())
}
