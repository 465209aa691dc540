package netdata

import (
	"strings"

	"go.yaml.in/yaml/v3"

	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

// WireGuard makes an interface a tunnel.
type WireGuard struct {
	PrivateKey string          `yaml:"private_key"`
	ListenPort int             `yaml:"listen_port,omitempty"`
	Peers      []WireGuardPeer `yaml:"peers,omitempty"`
}

// WireGuardPeer is the other end of a tunnel.
type WireGuardPeer struct {
	PublicKey           string   `yaml:"public_key"`
	PresharedKey        string   `yaml:"preshared_key,omitempty"`
	Endpoint            string   `yaml:"endpoint,omitempty"`
	AllowedIPs          []string `yaml:"allowed_ips,omitempty"`
	PersistentKeepalive int      `yaml:"persistent_keepalive,omitempty"`
}

// v2Tunnel is a tunnel of version 2.
type v2Tunnel struct {
	Mode   string
	Port   int
	Key    v2Key
	Keys   v2Key
	Peers  []v2Peer
	v2Link `yaml:",inline"`
	// Unknown is not v2Link's: an inline map works in the outermost struct only.
	Unknown rest `yaml:",inline"`
}

type v2Peer struct {
	Endpoint   string
	AllowedIPs list `yaml:"allowed-ips"`
	Keepalive  int
	Keys       struct {
		Public, Shared string
		Rest           rest `yaml:",inline"`
	}
	Rest rest `yaml:",inline"`
}

// v2Key is a private key, or {private: key}.
type v2Key string

// UnmarshalYAML implements yaml.Unmarshaler.
func (k *v2Key) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.MappingNode {
		var keys struct{ Private string }
		err := n.Decode(&keys)
		*k = v2Key(keys.Private)
		return err
	}
	return n.Decode((*string)(k))
}

func (l v2Tunnel) add(b *Builder, name string) {
	if l.Mode != wireguard {
		b.Problem("%s: tunnels of mode %.40q have no effect here; there is %s", name, l.Mode, wireguard)
		return
	}
	w := &WireGuard{PrivateKey: string(l.Key + l.Keys), ListenPort: l.Port}
	for _, p := range l.Peers {
		p.Rest.refuse(b, name+": peers")
		p.Keys.Rest.refuse(b, name+": peers: keys")
		w.Peers = append(w.Peers, WireGuardPeer{p.Keys.Public, p.Keys.Shared, p.Endpoint, p.AllowedIPs, p.Keepalive})
	}
	if !w.check(b, name) {
		return
	}
	l.Rest = l.Unknown
	if i := b.Interface(name); i != nil {
		i.WireGuard = w
		l.configure(b, name, i)
	}
}

// wireguard is the only mode of tunnels that has an effect.
const wireguard = "wireguard"

// check reports what the configuration does not take.
func (w *WireGuard) check(b *Builder, name string) bool {
	text, err := yaml.Marshal(map[string]any{"rancher": map[string]any{"network": Network{Interfaces: map[string]*Interface{"wg": {WireGuard: w}}}}})
	if err != nil {
		b.Problem("%s: %w", name, err)
		return false
	}
	good := true
	for _, p := range new(osconfig.Config).Merge("", text) {
		if p.Severity == osconfig.Error {
			b.Problem("%s: %s: %s", name, strings.TrimPrefix(p.Key, "rancher.network.interfaces.wg."), p.Text)
			good = false
		}
	}
	return good
}
