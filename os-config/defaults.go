package osconfig

import "time"

// Defaults returns the configuration of a machine that nobody configured.
func Defaults() Config {
	return Config{
		Chpasswd: Chpasswd{Expire: true},
		NTP:      NTP{Enabled: true},
		Rancher: Rancher{
			Console: "default",
			SSH:     SSH{Daemon: true, Port: 22},
			Network: Network{DHCPTimeout: 10, Firewall: Firewall{Default: "accept"}},
			Install: Install{Reboot: true},
			Upgrade: Upgrade{Policy: "none", Timeout: Duration(10 * time.Minute), Settle: Duration(time.Minute)},
		},
	}
}
