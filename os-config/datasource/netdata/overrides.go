package netdata

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// ipv6Only are dhcpcd's arguments for router advertisements and DHCPv6 alone.
const ipv6Only = "-6"

// noLinkLocal keeps the kernel from making an address of its own.
const noLinkLocal = "f=/proc/sys/net/ipv6/conf/$iface/addr_gen_mode; [ ! -e $f ] || echo 1 >$f"

// configureDHCP says what a link of version 2 gets from its network.
func (l v2Link) configureDHCP(b *Builder, id string, i *Interface) {
	advertised := l.AcceptRA != nil && *l.AcceptRA
	i.DHCP = l.DHCP4 || l.DHCP6 || advertised
	if l.LinkLocal != nil {
		i.IPv4LL = slices.Contains(*l.LinkLocal, "ipv4")
		if !slices.Contains(*l.LinkLocal, "ipv6") && !i.DHCP {
			i.PreUp = append(i.PreUp, noLinkLocal)
		}
	}
	if !i.DHCP {
		return
	}
	var args []string
	if !l.DHCP4 {
		args = append(args, ipv6Only)
	}
	if l.AcceptRA != nil && !advertised {
		args = append(args, "--noipv6rs")
	}
	args = append(args, l.Overrides4.unused(b, id+": dhcp4-overrides", dhcp4Options)...)
	args = append(args, l.Overrides6.unused(b, id+": dhcp6-overrides", dhcp6Options)...)
	for _, shared := range []struct{ arg, four, six string }{
		{"metric", l.Overrides4.metric(), l.Overrides6.metric()},
		{"hostname", l.Overrides4.hostname(), l.Overrides6.hostname()},
	} {
		if value := cmp.Or(shared.four, shared.six); value != "" {
			args = append(args, "--"+shared.arg+"="+value)
		}
		if shared.four != "" && shared.six != "" && shared.four != shared.six {
			b.Problem("%s: dhcp6-overrides: the %s is the one of dhcp4-overrides", id, shared.arg)
		}
	}
	i.DHCPArgs = strings.Join(args, " ")
}

// v2Overrides say what of a server's answer counts.
type v2Overrides struct {
	UseDNS       *bool   `yaml:"use-dns"`
	UseDomains   *string `yaml:"use-domains"`
	UseNTP       *bool   `yaml:"use-ntp"`
	UseHostname  *bool   `yaml:"use-hostname"`
	UseMTU       *bool   `yaml:"use-mtu"`
	UseRoutes    *bool   `yaml:"use-routes"`
	RouteMetric  int     `yaml:"route-metric"`
	SendHostname *bool   `yaml:"send-hostname"`
	Hostname     string
	Rest         rest `yaml:",inline"`
}

// dhcp4Options and dhcp6Options are what the keys of v2Overrides are about, in
// dhcpcd's names, one list per protocol.
var (
	dhcp4Options = map[string][]string{
		"use-dns":      {"domain_name_servers"},
		"use-domains":  {"domain_name,domain_search"},
		"use-ntp":      {"ntp_servers"},
		"use-hostname": {"host_name"},
		"use-mtu":      {"interface_mtu"},
		"use-routes":   {"routers,static_routes,classless_static_routes,ms_classless_static_routes"},
	}
	dhcp6Options = map[string][]string{
		"use-dns":     {"dhcp6_name_servers", "nd_rdnss"},
		"use-domains": {"dhcp6_domain_search", "nd_dnssl"},
		"use-ntp":     {"dhcp6_sntp_servers,dhcp6_ntp_server"},
	}
)

// unused are the arguments that have dhcpcd pass over what is not to be used.
func (o v2Overrides) unused(b *Builder, where string, options map[string][]string) (args []string) {
	no := func(use *bool) bool { return use != nil && !*use }
	for _, key := range []struct {
		name   string
		unused bool
	}{
		{"use-dns", no(o.UseDNS)},
		{"use-domains", o.UseDomains != nil && !isTrue(*o.UseDomains) && *o.UseDomains != "route"},
		{"use-ntp", no(o.UseNTP)},
		{"use-hostname", no(o.UseHostname)},
		{"use-mtu", no(o.UseMTU)},
		{"use-routes", no(o.UseRoutes)},
	} {
		if !key.unused {
			continue
		}
		if options[key.name] == nil {
			b.Problem("%s: %s has no effect here", where, key.name)
		}
		for _, list := range options[key.name] {
			args = append(args, "--nooption="+list)
		}
	}
	o.Rest.refuse(b, where)
	return args
}

func (o v2Overrides) metric() string {
	if o.RouteMetric <= 0 {
		return ""
	}
	return fmt.Sprint(o.RouteMetric)
}

// hostname is the name to send: "" for the machine's, `""` for none.
func (o v2Overrides) hostname() string {
	switch {
	case o.SendHostname != nil && !*o.SendHostname:
		return `""`
	case isName(o.Hostname):
		return o.Hostname
	}
	return ""
}
