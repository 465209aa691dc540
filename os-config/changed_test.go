package osconfig

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestChanged(t *testing.T) {
	const base = `
hostname: a
mounts: [[/dev/vdb, /mnt]]
rancher:
  password: secret
  sysctl: {a.b: 1, c.d: 2}
  services: {web: {image: x, command: run}}
  network: {interfaces: {eth0: {address: 10.0.0.2/24}}}
`
	tests := []struct {
		name, text string
		want       []string
	}{
		{"nothing", "", nil},
		{"one value", "hostname: b", []string{"hostname"}},
		{"an empty list is none", "runcmd: []", nil},
		{"a list", "mounts: [[/dev/vdb, /mnt, ext4]]", []string{"mounts"}},
		{"a secret", "rancher: {password: other}", []string{"rancher.password"}},
		{"entries of a map", "rancher: {sysctl: {a.b: 3, e.f: 4}}", []string{"rancher.sysctl.a.b", "rancher.sysctl.e.f"}},
		{"a new service", "rancher: {services: {db: {image: y}}}", []string{"rancher.services.db"}},
		{"part of a service", "rancher: {services: {web: {image: y}}}", []string{"rancher.services.web.image"}},
		{"part of an interface", "rancher: {network: {interfaces: {eth0: {mtu: 1400}}}}", []string{"rancher.network.interfaces.eth0.mtu"}},
		{"what has no effect", "rancher: {rm_usr: true, upgrade: {image: x}}", nil},
		{"several, sorted", "timezone: Europe/Berlin\nhostname: b", []string{"hostname", "timezone"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, b := Defaults(), Defaults()
			a.Merge("a", []byte(base))
			b.Merge("a", []byte(base))
			b.Merge("b", []byte(tt.text))
			if diff := cmp.Diff(tt.want, Changed(a, b)); diff != "" {
				t.Errorf("Changed (-want +got):\n%s", diff)
			}
			if back := Changed(b, a); len(back) != len(tt.want) {
				t.Errorf("Changed the other way = %v; want as many keys", back)
			}
		})
	}
}
