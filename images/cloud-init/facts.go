package cloudinit

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
)

// defaultGateway returns the address of the IPv4 default gateway.
func defaultGateway() (string, error) {
	table, err := os.ReadFile("/proc/net/route")
	if err != nil {
		return "", err
	}
	return parseRoutes(string(table))
}

// parseRoutes finds the default gateway in the text of /proc/net/route, whose
// addresses are hexadecimal numbers in the byte order of the machine.
func parseRoutes(table string) (string, error) {
	for line := range strings.Lines(table) {
		words := strings.Fields(line)
		if len(words) < 3 || words[1] != "00000000" || words[2] == "00000000" {
			continue
		}
		raw, err := hex.DecodeString(words[2])
		if err != nil || len(raw) != 4 {
			return "", fmt.Errorf("/proc/net/route: gateway %.20q", words[2])
		}
		var addr [4]byte
		binary.NativeEndian.PutUint32(addr[:], binary.BigEndian.Uint32(raw))
		return netip.AddrFrom4(addr).String(), nil
	}
	return "", errors.New("no IPv4 default route")
}
