package osconfig

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// Firewall says which ports of the machine others reach, those that containers
// publish among them. Loopback, answers, ICMP, DHCP and what containers send
// pass in any case.
type Firewall struct {
	// What to do with what no rule is about.
	Default Verdict `yaml:"default" origin:"Bulkhead" eg:"drop"`
	// Ports to open: `PORT[-PORT][/tcp|/udp]` or `any`, then `from ADDRESS` and
	// `on INTERFACE`.
	Allow []FirewallRule `yaml:"allow" origin:"Bulkhead" eg:"[22, 53/udp, '9000-9010 from 10.0.0.0/8', any on wg0]"`
	// Ports to close, unless `allow` opens them.
	Deny []FirewallRule `yaml:"deny" origin:"Bulkhead" eg:"[9999, any from 203.0.113.0/24]"`
}

// On reports whether there is anything to do.
func (f Firewall) On() bool { return f.Default == drop || len(f.Deny) > 0 }

// closes reports whether a TCP port is closed to all.
func (f Firewall) closes(port int) bool {
	meant := func(rules []FirewallRule, all bool) bool {
		for _, r := range rules {
			m := r.Match()
			about := m.Protocol == "" || m.Protocol == "tcp" && m.First <= port && port <= m.Last
			if about && (!all || m.Link == "" && (!m.From.IsValid() || m.From.Bits() == 0)) {
				return true
			}
		}
		return false
	}
	return !meant(f.Allow, false) && (f.Default == drop || meant(f.Deny, true))
}

const drop Verdict = "drop"

// A Verdict is what happens to a packet.
type Verdict string

func (Verdict) values() []string { return []string{"accept", string(drop)} }

// A FirewallRule names packets: "PORT[-PORT][/tcp|/udp]" or "any", then "from
// ADDRESS" and "on INTERFACE". Match has its parts.
type FirewallRule string

// A FirewallMatch is what a rule names.
type FirewallMatch struct {
	// Protocol is tcp or udp; empty for all.
	Protocol    string
	First, Last int
	// From is where packets come from; the zero value for anywhere.
	From netip.Prefix
	// Link is the interface that they come in by; empty for all.
	Link string
}

func (r *FirewallRule) setText(text string) error {
	if _, err := parseFirewallRule(text); err != nil {
		return err
	}
	*r = FirewallRule(strings.Join(strings.Fields(text), " "))
	return nil
}

// Match returns the parts of a rule.
func (r FirewallRule) Match() FirewallMatch {
	m, err := parseFirewallRule(string(r))
	if err != nil {
		panic("BUG: a rule that nobody checked: " + string(r))
	}
	return m
}

func parseFirewallRule(text string) (m FirewallMatch, err error) {
	words := strings.Fields(text)
	if len(words) == 0 {
		return m, errors.New("expected a port such as 80/tcp, or any")
	}
	if words[0] != "any" {
		ports, protocol, given := strings.Cut(words[0], "/")
		if !given {
			protocol = "tcp"
		}
		first, last, isRange := strings.Cut(ports, "-")
		if !isRange {
			last = first
		}
		a, okFirst := number(first, 1, 65535)
		b, okLast := number(last, 1, 65535)
		if !okFirst || !okLast || a > b || protocol != "tcp" && protocol != "udp" {
			return m, fmt.Errorf("%s: expected any, or a port from 1 to 65535 or a range, with or without /tcp or /udp: 80, 53/udp, 9000-9010", words[0])
		}
		m.Protocol, m.First, m.Last = protocol, a, b
	}
	for rest := words[1:]; len(rest) > 0; rest = rest[2:] {
		if len(rest) == 1 {
			return m, fmt.Errorf("expected something behind %q: from ADDRESS, on INTERFACE", rest[0])
		}
		value := rest[1]
		switch {
		case rest[0] == "from" && !m.From.IsValid():
			if m.From, err = parseNetwork(value); err != nil {
				return m, fmt.Errorf("%s: expected an IP address, with or without the length of its network", value)
			}
		case rest[0] == "on" && m.Link == "":
			if err := new(LinkName).setText(value); err != nil {
				return m, fmt.Errorf("%s: %w", value, err)
			}
			m.Link = value
		default:
			return m, fmt.Errorf("expected from ADDRESS or on INTERFACE, each once, found %q", rest[0])
		}
	}
	return m, nil
}

// doubtful implements doubted.
func (r *Rancher) doubtful() (field, text string) {
	if port := r.SSH.ListenPort(); port > 0 && r.Network.Firewall.closes(port) {
		return "network.firewall", fmt.Sprintf("closes port %d, where people log in by ssh; add %d to allow", port, port)
	}
	return "", ""
}
