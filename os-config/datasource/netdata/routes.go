package netdata

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// A v2Route is a route of a link in version 2.
type v2Route struct {
	To, Via, From, Type, Scope string
	OnLink                     bool `yaml:"on-link"`
	Metric, Table, MTU         int
	Rest                       rest `yaml:",inline"`
}

// routeTypes are the types of routes of which there can be several on a link,
// in ip-route(8)'s words.
var routeTypes = []string{"", "unicast", "local", "throw", "unreachable", "prohibit", "blackhole"}

// routeScopes likewise.
var routeScopes = []string{"", "global", "link", "host"}

func (r v2Route) addTo(b *Builder, id string, i *Interface) {
	where := fmt.Sprintf("%s: route to %.60q", id, r.To)
	r.Rest.refuse(b, where)
	switch {
	case !slices.Contains(routeTypes, r.Type):
		b.Problem("%s: type: %.20q has no effect here", where, r.Type)
		return
	case !slices.Contains(routeScopes, r.Scope):
		b.Problem("%s: scope: %.20q has no effect here", where, r.Scope)
		return
	case r.From != "" && !isAddress(r.From):
		b.Problem("%s: from: %.60q: expected an address", where, r.From)
		return
	}
	route := Route{To: r.To, Via: r.Via, Metric: r.Metric}
	if r.Type != "unicast" {
		route.Type = r.Type
	}
	if r.From != "" {
		route.Options = append(route.Options, "src "+r.From)
	}
	if r.Scope != "" && r.Scope != "global" {
		route.Options = append(route.Options, "scope "+r.Scope)
	}
	if r.Table > 0 {
		route.Options = append(route.Options, fmt.Sprintf("table %d", r.Table))
	}
	if r.MTU > 0 {
		route.Options = append(route.Options, fmt.Sprintf("mtu %d", r.MTU))
	}
	route.OnLink = r.OnLink
	b.Route(i, route)
}

// A v2Rule says which table of routes some packets take.
type v2Rule struct {
	From, To              string
	Table, Priority, Mark int
	Rest                  rest `yaml:",inline"`
}

// mainTable is the table of routes that counts without a rule.
const mainTable = 254

func (r v2Rule) addTo(b *Builder, id string, i *Interface) {
	r.Rest.refuse(b, id+": routing-policy")
	command, rule := "ip rule", ""
	for _, end := range []struct{ word, value string }{{"from", r.From}, {"to", r.To}} {
		switch {
		case end.value == "":
			continue
		case end.value != "all" && !isAddress(end.value):
			b.Problem("%s: routing-policy: %s: %.60q: expected an address or network", id, end.word, end.value)
			return
		case strings.Contains(end.value, ":"):
			command = "ip -6 rule"
		}
		rule += " " + end.word + " " + end.value
	}
	if rule == "" {
		b.Problem("%s: routing-policy: expected from or to", id)
		return
	}
	for _, n := range []struct {
		word  string
		value int
	}{{"fwmark", r.Mark}, {"priority", r.Priority}, {"table", cmp.Or(r.Table, mainTable)}} {
		if n.value > 0 {
			rule += fmt.Sprintf(" %s %d", n.word, n.value)
		}
	}
	// An earlier start of the service may have made the same rule.
	i.PostUp = append(i.PostUp, fmt.Sprintf("%s del%s 2>/dev/null; %[1]s add%[2]s", command, rule))
}

// isAddress holds for an address with or without the length of its network.
func isAddress(s string) bool {
	_, err := netip.ParsePrefix(s)
	if err != nil {
		_, err = netip.ParseAddr(s)
	}
	return err == nil && !strings.Contains(s, "%")
}
