package e2e

import (
	"strings"
	"testing"
)

// checkConfigCommand checks what `ros config` tells and changes. metadataKey is
// the key that the metadata brought.
func (g *guest) checkConfigCommand(t *testing.T, metadataKey string) {
	t.Helper()
	const own = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFh own"
	layer := func(name, text string) {
		if r := g.pipe(t, "sudo tee /var/lib/rancher/conf/cloud-config.d/"+name, strings.NewReader(text)); r.Exit != 0 {
			t.Fatal(r.Stderr)
		}
	}
	layer("100-a.yml", "rancher: {upgrade: {url: 'https://example.org/a', image: example/os}, password: bilgewater}\n")
	layer("200-b.yml", "rancher: {upgrade: {url: 'https://example.org/b'}}\n")
	for _, tt := range []struct{ name, command, want string }{
		{"layers", "ros config get rancher.upgrade.url; ros config get rancher.upgrade.image", "https://example.org/b\nexample/os"},
		{"own file over layers", "ros config set rancher.upgrade.url https://example.org/c; ros config get rancher.upgrade.url", "https://example.org/c"},
		{"list", "ros config set rancher.network.dns.search '[a.example.org, b.example.org]'; ros config get --json rancher.network.dns.search | tr -d ' \\n'", `["a.example.org","b.example.org"]`},
		{"part of a list stays as it is", "ros config set rancher.network.dns.search '[b.example.org]'; ros config get --json rancher.network.dns.search | tr -d ' \\n'", `["b.example.org"]`},
		{"delete", "ros config delete rancher.upgrade.url; ros config get rancher.upgrade.url", "https://example.org/b"},
		{"secrets are not exported", "ros config export | grep -c bilgewater", "0"},
		{"secrets are, if asked for", "ros config export --private | grep -c bilgewater", "1"},
		{"keys of the metadata come once, after the others", "for i in 1 2 3; do ros config set ssh_authorized_keys '[" + own + "]'; done; ros config get --json ssh_authorized_keys | jq -r '.[]'", own + "\n" + metadataKey},
		{"the file holds what was set", "grep -c 'AAAA' /var/lib/rancher/conf/cloud-config.yml", "1"},
	} {
		r := g.try(t, "sudo sh -c "+quote(tt.command))
		if got := strings.TrimSpace(r.Stdout); got != strings.TrimSpace(tt.want) {
			t.Errorf("%s: %s\n%s%s\nwant:\n%s", tt.name, tt.command, r.Stdout, r.Stderr, tt.want)
		}
	}
}
