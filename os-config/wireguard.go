package osconfig

import (
	"encoding/base64"
	"errors"
	"net"
	"net/netip"
)

// WireGuard makes an interface a tunnel.
type WireGuard struct {
	// Key of this end, as `wg genkey` makes it.
	PrivateKey WireGuardKey `yaml:"private_key" required:"true" origin:"Bulkhead" eg:"YW4gZXhhbXBsZSwgYW5kIG5vdGhpbmcgc2VjcmV0LTA="`
	// UDP port to listen on; else any.
	ListenPort Port `yaml:"listen_port" origin:"Bulkhead" eg:"51820"`
	// The other ends.
	Peers []WireGuardPeer `yaml:"peers" origin:"Bulkhead"`
}

// On reports whether the interface is a tunnel.
func (w WireGuard) On() bool { return w.PrivateKey.Secret != "" }

// A WireGuardPeer is the other end of a tunnel.
type WireGuardPeer struct {
	// Its key, as `wg pubkey` makes it.
	PublicKey WireGuardPublicKey `yaml:"public_key" required:"true" origin:"Bulkhead" eg:"YW4gZXhhbXBsZSwgYW5kIG5vdGhpbmcgc2VjcmV0LTE="`
	// Secret that both ends share in addition, as `wg genpsk` makes it.
	PresharedKey WireGuardKey `yaml:"preshared_key" origin:"Bulkhead" eg:"dHdvIGVuZHMgc2hhcmUgYW4gZXhhbXBsZSwgMCBzZWM="`
	// Where it is; else it has to come first.
	Endpoint Endpoint `yaml:"endpoint" origin:"Bulkhead" eg:"vpn.example.org:51820"`
	// Networks behind it, to which there is a route then; for `0.0.0.0/0` and
	// `::/0` there is none.
	AllowedIPs []IPNetwork `yaml:"allowed_ips" origin:"Bulkhead" eg:"[10.7.0.0/24, 'fd00:7::/64']"`
	// Seconds between signs of life, for an end behind NAT.
	PersistentKeepalive Keepalive `yaml:"persistent_keepalive" origin:"Bulkhead" eg:"25"`
}

// A WireGuardKey is a key that nobody else may know.
type WireGuardKey struct{ Secret }

func (k *WireGuardKey) setText(text string) error {
	if !isWireGuardKey(text) {
		return errors.New("expected a key as wg genkey makes it, 44 characters; is it complete?")
	}
	k.Secret = Secret(text)
	return nil
}

// A WireGuardPublicKey is what others know an end by.
type WireGuardPublicKey string

func (k *WireGuardPublicKey) setText(text string) error {
	if !isWireGuardKey(text) {
		return errors.New("expected a key as wg pubkey makes it, 44 characters; is it complete?")
	}
	*k = WireGuardPublicKey(text)
	return nil
}

func isWireGuardKey(text string) bool {
	key, err := base64.StdEncoding.Strict().DecodeString(text)
	return err == nil && len(key) == 32 && len(text) == 44
}

// An Endpoint is "HOST:PORT".
type Endpoint string

func (e *Endpoint) setText(text string) error {
	host, port, err := net.SplitHostPort(text)
	if _, ok := number(port, 1, 65535); err != nil || !ok || new(Host).setText(host) != nil {
		return errors.New("expected HOST:PORT, such as vpn.example.org:51820 or [2001:db8::1]:51820")
	}
	*e = Endpoint(text)
	return nil
}

// An IPNetwork is a network of IPv4 or IPv6.
type IPNetwork string

func (n *IPNetwork) setText(text string) error {
	p, err := parseNetwork(text)
	if err != nil {
		return errors.New("expected a network such as 10.7.0.0/24")
	}
	*n = IPNetwork(p.String())
	return nil
}

// parseNetwork reads a network, or an address as the network of that one.
func parseNetwork(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if addr, single := netip.ParseAddr(text); err != nil && single == nil && addr.Zone() == "" {
		p, err = addr.Prefix(addr.BitLen())
	}
	return p.Masked(), err
}

// Keepalive is a number of seconds; 0 for never.
type Keepalive int

func (k *Keepalive) setText(text string) error {
	n, ok := number(text, 0, 65535)
	if !ok {
		return errors.New("expected a number of seconds, up to 65535")
	}
	*k = Keepalive(n)
	return nil
}
