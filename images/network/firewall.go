package network

import (
	"fmt"
	"strings"

	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

// Numbers of protocols; nft(8) would need a file for their names.
const (
	icmp   = 1
	igmp   = 2
	icmpv6 = 58
)

// writeFirewall writes the chains of rancher.network.firewall: one for what is
// for the machine itself, one for what goes to containers. What containers send
// is not the firewall's.
func writeFirewall(b *strings.Builder, fw osconfig.Firewall, own []string) {
	if !fw.On() {
		return
	}
	machine := strings.Join(quoteAll(own), ", ")
	containers := `meta iifkind "bridge"`
	if len(own) > 0 {
		containers += fmt.Sprintf(" iifname != { %s }", machine)
	}
	chain := func(name, hook string, toContainers bool) {
		fmt.Fprintf(b, "\tchain %s {\n\t\ttype filter hook %s priority filter - 10\n", name, hook)
		line := func(format string, args ...any) { fmt.Fprintf(b, "\t\t"+format+"\n", args...) }
		line("ct state established,related accept")
		line(`iifname { "lo", %q } accept`, engineLinks)
		line("%s accept", containers)
		line("meta l4proto { %d, %d, %d } accept", icmp, igmp, icmpv6)
		if toContainers {
			if len(own) > 0 {
				line("oifname { %s } accept", machine)
			}
		} else {
			// Some servers of DHCPv6 answer from a port of their own.
			line("udp sport 67 udp dport 68 accept")
			line("ip6 saddr fe80::/10 udp dport 546 accept")
		}
		for _, r := range fw.Allow {
			line("%saccept", match(r.Match(), toContainers))
		}
		for _, r := range fw.Deny {
			line("%sdrop", match(r.Match(), toContainers))
		}
		if fw.Default == "drop" {
			line("drop")
		}
		b.WriteString("\t}\n")
	}
	chain("firewall-in", "input", false)
	chain("firewall-forward", "forward", true)
}

// match returns the condition of a rule. On its way to a container a packet has
// the container's port; published is the one that it came to.
func match(m osconfig.FirewallMatch, published bool) string {
	var b strings.Builder
	if m.Link != "" {
		fmt.Fprintf(&b, "iifname %q ", m.Link)
	}
	if m.From.IsValid() {
		family := "ip"
		if m.From.Addr().Is6() {
			family = "ip6"
		}
		fmt.Fprintf(&b, "%s saddr %s ", family, m.From)
	}
	if m.Protocol != "" {
		ports := fmt.Sprint(m.First)
		if m.Last != m.First {
			ports += fmt.Sprintf("-%d", m.Last)
		}
		if published {
			fmt.Fprintf(&b, "meta l4proto %s ct original proto-dst %s ", m.Protocol, ports)
		} else {
			fmt.Fprintf(&b, "%s dport %s ", m.Protocol, ports)
		}
	}
	return b.String()
}
