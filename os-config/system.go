package osconfig

import (
	"reflect"

	"go.yaml.in/yaml/v3"
)

// NTP says where the time comes from.
type NTP struct {
	// Whether the machine keeps the time of servers.
	Enabled bool `yaml:"enabled" eg:"false"`
	// Servers to ask; else those that DHCP names, else public ones.
	Servers []Host `yaml:"servers" eg:"[ntp1.example.org, 10.0.0.1]"`
	// Names that stand for many servers.
	Pools []Host `yaml:"pools" eg:"[pool.ntp.org]"`
	// Servers to exchange the time with.
	Peers []Host `yaml:"peers" eg:"[10.0.0.2]"`
	// Networks that may ask this machine for the time.
	Allow []CIDR `yaml:"allow" eg:"[10.0.0.0/8]"`
	// Program that keeps the time.
	Client Anything `yaml:"ntp_client" instead:"it is chrony"`
	// Its configuration.
	Config Anything `yaml:"config" instead:"use servers, pools, peers and allow"`
}

// CACerts are certificate authorities to trust.
type CACerts struct {
	// Trust only those given here.
	RemoveDefaults bool `yaml:"remove_defaults" alias:"remove-defaults" eg:"true"`
	// Certificates, in PEM.
	Trusted CertList `yaml:"trusted" eg:"['-----BEGIN CERTIFICATE-----…']"`
}

// PowerState is what to do with the machine once it is configured.
type PowerState struct {
	// What to do.
	Mode PowerMode `yaml:"mode" eg:"reboot"`
	// When: `now`, or minutes as in `+5`.
	Delay PowerDelay `yaml:"delay" def:"now" eg:"+5"`
	// What to tell who is logged in.
	Message string `yaml:"message" eg:"configured, restarting"`
	// Seconds to wait for `runcmd` to end.
	Timeout int `yaml:"timeout" eg:"60"`
	// Do it only if this command succeeds, or if it is true.
	Condition Condition `yaml:"condition" def:"true" eg:"[test, -f, /run/restart]"`
}

func (p *PowerState) doubtful() (field, text string) {
	if p.Mode == "" && (p.Delay != "" || p.Message != "" || p.Timeout != 0) {
		return "mode", "is missing, so nothing happens: poweroff, reboot or halt"
	}
	return "", ""
}

// A Condition is a command whose success decides, or a fixed answer. The zero
// value is true.
type Condition struct {
	Never   bool
	Command Command
}

func (c *Condition) setNode(d *decoder, n *yaml.Node, key string) bool {
	if n.Kind == yaml.ScalarNode {
		if on, known := parseBool(n.Value); known {
			*c = Condition{Never: !on}
			return true
		}
	}
	*c = Condition{}
	return d.decode(n, reflect.ValueOf(&c.Command).Elem(), key)
}
