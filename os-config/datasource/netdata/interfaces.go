package netdata

import (
	"bufio"
	"bytes"
	"strconv"
	"strings"
)

// Interfaces reads the part of Debian's interfaces(5) that configuration
// drives use: stanzas "iface NAME inet static" and the like.
func Interfaces(text []byte) (Network, error) {
	var (
		b       Builder
		current *Interface
		address string
		mask    string
	)
	// An address is complete at the end of its stanza.
	finish := func() {
		if current != nil && address != "" {
			b.Address(current, address, mask)
		}
		address, mask = "", ""
	}
	in := bufio.NewScanner(bytes.NewReader(text))
	in.Buffer(nil, len(text)+1)
	for in.Scan() {
		words := strings.Fields(in.Text())
		if len(words) < 2 || strings.HasPrefix(words[0], "#") {
			continue
		}
		switch option, values := strings.ReplaceAll(words[0], "_", "-"), words[1:]; option {
		case "auto", "allow-hotplug":
		case "iface":
			finish()
			current = nil
			if len(values) < 3 || values[0] == "lo" {
				continue
			}
			if current = b.Interface(values[0]); current == nil {
				continue
			}
			switch values[2] {
			case "dhcp", "auto":
				current.DHCP = true
			case "static", "manual":
			default:
				b.Problem("%s: unknown method %.40q", values[0], values[2])
			}
		case "dns-nameservers", "dns-nameserver":
			b.Nameservers(values...)
		case "dns-search", "dns-domain":
			b.Search(values...)
		default:
			if current == nil {
				continue
			}
			switch option {
			case "address":
				address = values[0]
			case "netmask":
				mask = values[0]
			case "gateway":
				b.Gateway(current, values[0])
			case "mtu":
				mtu, err := strconv.Atoi(values[0])
				if err != nil {
					mtu = -1
				}
				b.MTU(current, mtu)
			case "hwaddress":
				b.MatchMAC(current, values[len(values)-1])
			case "broadcast", "network", "metric", "scope":
			default:
				b.Problem("%.40q has no effect here", option)
			}
		}
	}
	finish()
	return b.Network()
}
