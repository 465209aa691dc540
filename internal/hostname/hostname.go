// Package hostname has what a machine is called before anyone has named it, and
// how /etc/hosts tells that. It sets no name.
package hostname

import "strings"

// Default is the name of a machine that got none from anywhere.
const Default = "bulkhead"

// Hosts returns /etc/hosts of a machine with these names, in the way of Debian:
// 127.0.1.1 is the machine itself, also without a network.
func Hosts(names ...string) string {
	return "127.0.0.1 localhost\n" +
		"127.0.1.1 " + strings.Join(names, " ") + "\n" +
		"::1 localhost ip6-localhost ip6-loopback\n" +
		"ff02::1 ip6-allnodes\n" +
		"ff02::2 ip6-allrouters\n"
}
