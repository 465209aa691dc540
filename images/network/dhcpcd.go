package network

import (
	"fmt"
	"strings"
)

// dhcpcdConfig returns dhcpcd.conf(5): the shipped part, and the interfaces
// that dhcpcd may touch. It is empty if there are none. The problems are
// arguments of the DHCP client that have no effect here.
func dhcpcdConfig(shipped string, targets []Target) (text string, problems []string) {
	var names []string
	var b strings.Builder
	for _, t := range targets {
		if !t.dynamic() {
			continue
		}
		names = append(names, t.Name)
		// A block also makes dhcpcd take interfaces that are no hardware.
		fmt.Fprintf(&b, "\ninterface %s\n", t.Name)
		if !t.DHCP {
			b.WriteString("nodhcp\nnodhcp6\nnoipv6rs\n")
		}
		if t.IPv4LL {
			b.WriteString("ipv4ll\n")
		}
		options, unknown := dhcpcdOptions(t.DHCPArgs)
		for _, o := range options {
			b.WriteString(o + "\n")
		}
		for _, u := range unknown {
			problems = append(problems, fmt.Sprintf("rancher.network.interfaces.%s.dhcp_args: %s has no effect here", t.Name, u))
		}
	}
	if len(names) == 0 {
		return "", problems
	}
	head := fmt.Sprintf("%s\nallowinterfaces %s\n", strings.TrimRight(shipped, "\n"), strings.Join(names, " "))
	return head + b.String(), problems
}

// dhcpcdOptions translates arguments of dhcpcd(8), with which RancherOS ran
// one per interface, into lines of dhcpcd.conf(5).
func dhcpcdOptions(args string) (lines, unknown []string) {
	words := strings.Fields(args)
	for i := 0; i < len(words); i++ {
		word := words[i]
		if long, is := strings.CutPrefix(word, "--"); is {
			name, value, has := strings.Cut(long, "=")
			if !has && wantsValue(name) && i+1 < len(words) {
				i++
				value = words[i]
			}
			if line, ok := longOption(name, value); ok {
				lines = appendNonempty(lines, line)
			} else {
				unknown = append(unknown, word)
			}
			continue
		}
		if !strings.HasPrefix(word, "-") {
			if i > 0 || !strings.HasSuffix(word, "dhcpcd") { // RancherOS took the program's name too
				unknown = append(unknown, word)
			}
			continue
		}
		for j := 1; j < len(word); j++ {
			name, hasValue, known := shortOption(word[j])
			value := ""
			if hasValue {
				value = word[j+1:]
				if value == "" && i+1 < len(words) {
					i++
					value = words[i]
				}
			}
			if !known {
				unknown = append(unknown, "-"+word[j:j+1])
			} else if line, ok := longOption(name, value); ok {
				lines = appendNonempty(lines, line)
			}
			if hasValue {
				break
			}
		}
	}
	return lines, unknown
}

// shortOption returns an option's long name.
func shortOption(c byte) (name string, hasValue, known bool) {
	switch c {
	case '4':
		return "noipv6", false, true
	case '6':
		return "noipv4", false, true
	case 'A':
		return "noarp", false, true
	case 'B':
		return "nobackground", false, true
	case 'b':
		return "background", false, true
	case 'd':
		return "debug", false, true
	case 'D':
		return "duid", false, true
	case 'G':
		return "nogateway", false, true
	case 'h':
		return "hostname", true, true
	case 'I':
		return "clientid", true, true
	case 'i':
		return "vendorclassid", true, true
	case 'K':
		return "nolink", false, true
	case 'L':
		return "noipv4ll", false, true
	case 'M':
		return "nomtu", false, true
	case 'm':
		return "metric", true, true
	case 'O':
		return "nooption", true, true
	case 'o':
		return "option", true, true
	case 'e':
		return "env", true, true
	case 'r':
		return "request", true, true
	case 's':
		return "inform", true, true
	case 't':
		return "timeout", true, true
	case 'w':
		return "waitip", false, true
	}
	return "", false, false
}

// wantsValue reports whether a long option takes the next word.
func wantsValue(name string) bool {
	switch name {
	case "env", "inform", "metric", "nooption", "option", "request", "static", "timeout", "vendorclassid":
		return true
	}
	return false
}

// longOption returns the line for an option. It is empty for those that say
// how to run, which is fixed.
func longOption(name, value string) (line string, known bool) {
	switch name {
	case "nobackground", "background", "debug", "waitip", "env", "timeout":
		return "", true
	case "ipv4only":
		return "noipv6", true
	case "ipv6only":
		return "noipv4", true
	case "nomtu":
		return "nooption interface_mtu", true
	case "noipv6", "noipv4", "noarp", "duid", "nogateway", "hostname", "clientid", "vendorclassid", "nolink", "noipv4ll",
		"metric", "nooption", "option", "request", "inform", "noipv6rs", "nodhcp6", "ipv6rs", "static":
		return strings.TrimSpace(name + " " + value), true
	}
	return "", false
}

func appendNonempty(list []string, s string) []string {
	if s != "" {
		list = append(list, s)
	}
	return list
}
