package network

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/bulkhead-os/bulkhead/internal/tool"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

// engineLinks are the machine's ends of the cables to further engines.
const engineLinks = "engine*"

// protection is the machine's own table of nftables, whichever way user Docker
// has for its rules, and whether it runs or not.
type protection struct {
	// own are the machine's interfaces.
	own []string
	// forward are those among which it routes.
	forward []osconfig.InterfaceKey
	// sshPort is that of logins, or 0.
	sshPort  int
	firewall osconfig.Firewall
}

// install puts rules into force in place of those of an earlier call.
func install(ctx context.Context, rules string) error {
	if err := tool.Run(ctx, rules, "nft", "-f", "-"); err != nil {
		return fmt.Errorf("table inet bulkhead: %w", err)
	}
	return nil
}

// rules returns the table as nft(8) reads it.
func (p protection) rules() string {
	var b strings.Builder
	b.WriteString("table inet bulkhead {}\ndelete table inet bulkhead\ntable inet bulkhead {\n")
	b.WriteString("\tchain forward {\n\t\ttype filter hook forward priority filter - 10\n")
	if pairs := p.apart(); len(pairs) > 0 {
		fmt.Fprintf(&b, "\t\tiifname . oifname { %s } ct state new drop\n", strings.Join(pairs, ", "))
	}
	if len(p.own) > 0 {
		fmt.Fprintf(&b, "\t\tiifname { %s } oifname %q ct state new ct status & dnat == 0 drop\n", strings.Join(quoteAll(p.own), ", "), engineLinks)
	}
	b.WriteString("\t}\n")
	if p.sshPort > 0 {
		// Logins need no entry in the table of connections, which containers can fill.
		fmt.Fprintf(&b, "\tchain in {\n\t\ttype filter hook prerouting priority raw\n\t\tfib daddr type local tcp dport %d notrack\n\t}\n", p.sshPort)
		fmt.Fprintf(&b, "\tchain out {\n\t\ttype filter hook output priority raw\n\t\ttcp sport %d notrack\n\t}\n", p.sshPort)
	}
	writeFirewall(&b, p.firewall, p.own)
	b.WriteString("}\n")
	return b.String()
}

// apart returns the pairs of interfaces between which nothing goes.
func (p protection) apart() []string {
	routed := func(name string) bool {
		return slices.ContainsFunc(p.forward, func(k osconfig.InterfaceKey) bool { ok, _ := path.Match(string(k), name); return ok })
	}
	var pairs []string
	for _, in := range p.own {
		for _, out := range p.own {
			if in != out && !(routed(in) && routed(out)) {
				pairs = append(pairs, fmt.Sprintf("%q . %q", in, out))
			}
		}
	}
	return pairs
}

func quoteAll(names []string) []string {
	quoted := make([]string, 0, len(names))
	for _, n := range names {
		quoted = append(quoted, fmt.Sprintf("%q", n))
	}
	return quoted
}

// ownLinks are the names of the machine's interfaces.
func ownLinks(targets []Target) []string {
	var names []string
	for _, t := range targets {
		if t.Name != "lo" {
			names = append(names, t.Name)
		}
	}
	return names
}
