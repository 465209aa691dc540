package network

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// Facts are what one protocol said on one interface.
type Facts struct {
	// Address is the one that DHCP gave.
	Address     string   `json:"address,omitempty"`
	Nameservers []string `json:"nameservers,omitempty"`
	Search      []string `json:"search,omitempty"`
	NTPServers  []string `json:"ntp_servers,omitempty"`
	Hostname    string   `json:"hostname,omitempty"`
}

// factsOf reads the environment that dhcpcd runs its hook with
// (dhcpcd-run-hooks(8)). Everything in it came from the network: what is no
// address or no name is dropped.
func factsOf(env map[string]string) Facts {
	var f Facts
	iface := env["interface"]
	f.addServers(iface, env["new_domain_name_servers"], env["new_dhcp6_name_servers"])
	f.addSearch(env["new_domain_search"], env["new_dhcp6_domain_search"])
	if len(f.Search) == 0 {
		f.addSearch(env["new_domain_name"])
	}
	// Router advertisements come as nd1_rdnss1_servers, nd2_dnssl1_search, …
	for _, key := range slices.Sorted(maps.Keys(env)) {
		switch {
		case !strings.HasPrefix(key, "nd"):
		case strings.Contains(key, "_rdnss") && strings.HasSuffix(key, "_servers"):
			f.addServers(iface, env[key])
		case strings.Contains(key, "_dnssl") && strings.HasSuffix(key, "_search"):
			f.addSearch(env[key])
		}
	}
	for _, s := range strings.Fields(env["new_ntp_servers"] + " " + env["new_dhcp6_sntp_servers"]) {
		if _, err := netip.ParseAddr(s); err == nil {
			f.NTPServers = appendNew(f.NTPServers, s)
		}
	}
	if a, err := netip.ParseAddr(env["new_ip_address"]); err == nil {
		f.Address = a.String()
	}
	if name := env["new_host_name"]; isName(name) {
		f.Hostname = name
	}
	return f
}

// addServers adds addresses; a link-local one means nothing without its link.
func (f *Facts) addServers(iface string, lists ...string) {
	for _, s := range strings.Fields(strings.Join(lists, " ")) {
		a, err := netip.ParseAddr(s)
		if err != nil {
			continue
		}
		if a.Is6() && a.IsLinkLocalUnicast() && a.Zone() == "" {
			a = a.WithZone(iface)
		}
		f.Nameservers = appendNew(f.Nameservers, a.String())
	}
}

func (f *Facts) addSearch(lists ...string) {
	for _, s := range strings.Fields(strings.Join(lists, " ")) {
		if s = strings.TrimSuffix(s, "."); isName(s) {
			f.Search = appendNew(f.Search, s)
		}
	}
}

// isName holds for host and domain names: nothing that a file of words and
// lines could misread.
func isName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for _, r := range s {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-', r == '.', r == '_':
		default:
			return false
		}
	}
	return s[0] != '-' && s[0] != '.'
}

// merge puts the facts of all interfaces and protocols together; the earlier
// ones come first and give the host name.
func merge(all []Facts) Facts {
	var m Facts
	for _, f := range all {
		m.Nameservers = appendNew(m.Nameservers, f.Nameservers...)
		m.Search = appendNew(m.Search, f.Search...)
		m.NTPServers = appendNew(m.NTPServers, f.NTPServers...)
		if m.Hostname == "" {
			m.Hostname = f.Hostname
		}
	}
	return m
}

// resolvConf returns the content of resolv.conf(5).
func (f Facts) resolvConf() string {
	var b strings.Builder
	b.WriteString("# Made by the network service from the configuration, DHCP and router advertisements.\n")
	if len(f.Search) > 0 {
		fmt.Fprintf(&b, "search %s\n", strings.Join(f.Search, " "))
	}
	for _, s := range f.Nameservers {
		fmt.Fprintf(&b, "nameserver %s\n", s)
	}
	return b.String()
}

// chronySources returns the content of a file for chrony's sourcedir.
func (f Facts) chronySources() string {
	var b strings.Builder
	for _, s := range f.NTPServers {
		fmt.Fprintf(&b, "server %s iburst\n", s)
	}
	return b.String()
}

func appendNew(list []string, more ...string) []string {
	for _, s := range more {
		if !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}
