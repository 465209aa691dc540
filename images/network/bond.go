package network

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
)

// bondWords are the kernel's words for options that are numbers to it
// (Documentation/networking/bonding.rst); a word's place is its number.
func bondWords(option string) []string {
	switch option {
	case "mode":
		return []string{"balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb"}
	case "arp_validate":
		return []string{"none", "active", "backup", "all"}
	case "arp_all_targets":
		return []string{"any", "all"}
	case "primary_reselect":
		return []string{"always", "better", "failure"}
	case "fail_over_mac":
		return []string{"none", "active", "follow"}
	case "xmit_hash_policy":
		return []string{"layer2", "layer3+4", "layer2+3", "encap2+3", "encap3+4", "vlan+srcmac"}
	case "lacp_rate":
		return []string{"slow", "fast"}
	case "ad_select":
		return []string{"stable", "bandwidth", "count"}
	}
	return nil
}

// newBond translates options as sysfs has them. An option that cannot be used
// is left out and told.
func newBond(attrs netlink.LinkAttrs, options map[string]string) (*netlink.Bond, []error) {
	b := netlink.NewLinkBond(attrs)
	var errs []error
	for _, option := range slices.Sorted(maps.Keys(options)) {
		if err := setBondOption(b, option, strings.TrimSpace(options[option])); err != nil {
			errs = append(errs, fmt.Errorf("bond_opts.%s: %w", option, err))
		}
	}
	if b.Miimon < 0 && b.ArpInterval < 0 {
		// Without either the kernel takes a dead member for a live one.
		b.Miimon = 100
	}
	return b, errs
}

func setBondOption(b *netlink.Bond, option, value string) error {
	switch option {
	case "arp_ip_target":
		for text := range strings.SplitSeq(value, ",") {
			ip := net.ParseIP(strings.TrimSpace(text))
			if ip == nil {
				return fmt.Errorf("%q: want addresses with commas between them", value)
			}
			b.ArpIpTargets = append(b.ArpIpTargets, ip)
		}
		return nil
	case "ad_actor_system":
		mac, err := net.ParseMAC(value)
		b.AdActorSystem = mac
		return err
	}
	n, err := strconv.Atoi(value)
	if err != nil {
		if n = slices.Index(bondWords(option), value); n < 0 {
			return fmt.Errorf("%q: want a number or one of %q", value, bondWords(option))
		}
	}
	switch option {
	case "mode":
		b.Mode = netlink.BondMode(n)
	case "miimon":
		b.Miimon = n
	case "updelay":
		b.UpDelay = n
	case "downdelay":
		b.DownDelay = n
	case "use_carrier":
		b.UseCarrier = n
	case "arp_interval":
		b.ArpInterval = n
	case "arp_validate":
		b.ArpValidate = netlink.BondArpValidate(n)
	case "arp_all_targets":
		b.ArpAllTargets = netlink.BondArpAllTargets(n)
	case "primary_reselect":
		b.PrimaryReselect = netlink.BondPrimaryReselect(n)
	case "fail_over_mac":
		b.FailOverMac = netlink.BondFailOverMac(n)
	case "xmit_hash_policy":
		b.XmitHashPolicy = netlink.BondXmitHashPolicy(n)
	case "resend_igmp":
		b.ResendIgmp = n
	case "num_grat_arp", "num_unsol_na":
		b.NumPeerNotif = n
	case "all_slaves_active":
		b.AllSlavesActive = n
	case "min_links":
		b.MinLinks = n
	case "lp_interval":
		b.LpInterval = n
	case "packets_per_slave":
		b.PacketsPerSlave = n
	case "lacp_rate":
		b.LacpRate = netlink.BondLacpRate(n)
	case "ad_select":
		b.AdSelect = netlink.BondAdSelect(n)
	case "ad_actor_sys_prio":
		b.AdActorSysPrio = n
	case "ad_user_port_key":
		b.AdUserPortKey = n
	case "tlb_dynamic_lb":
		b.TlbDynamicLb = n
	default:
		return fmt.Errorf("no such option of the kernel, or one that cannot be set before there are members")
	}
	return nil
}
