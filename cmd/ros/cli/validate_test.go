package cli

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestValidateKinds has a file of each kind that people have, with a mistake in
// those that can have one. $ stands for the file.
func TestValidateKinds(t *testing.T) {
	const multipart = "Content-Type: multipart/mixed; boundary=X\nMIME-Version: 1.0\n\n" +
		"--X\nContent-Type: text/cloud-config\nContent-Disposition: attachment; filename=\"web.yml\"\n\n#cloud-config\nhostname: a\nhostnam: b\n\n" +
		"--X\nContent-Type: text/x-shellscript\n\n#!/bin/sh\necho hi\n--X--\n"
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write([]byte("#cloud-config\nhostnam: a\n")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, file, text string
		args             []string
		code             int
		want             string
	}{
		{"a cloud-config", "a.yml", "#cloud-config\nhostnam: a\n", nil, exitFailed, "$:2:1: hostnam: unknown key; did you mean hostname?\n"},
		{"a cloud-config without its line", "a.yml", "hostname: a\n", nil, exitOK, ""},
		{"that as user data", "user-data", "hostname: a\n", nil, exitFailed, `$: no boot takes it as user data: expected "#cloud-config", "#!", "#include", "#cloud-config-archive", "#compose" or "Content-Type:" at the beginning` + "\n"},
		{"packed", "a.gz", packed.String(), nil, exitFailed, "$:2:1: hostnam: unknown key; did you mean hostname?\n"},
		{"several parts", "user-data", multipart, nil, exitFailed, `$ part 1 ("web.yml"):3:1: hostnam: unknown key; did you mean hostname?` + "\n"},
		{"an archive", "a", "#cloud-config-archive\n- type: text/cloud-config\n  content: |\n    #cloud-config\n    ntpp: {}\n- \"#!/bin/sh\\necho\"\n- type: text/part-handler\n  content: x\n", nil, exitFailed,
			"$: item 3: \"x\" is not supported here\n$ item 1:2:1: ntpp: unknown key; did you mean ntp?\n"},
		{"a script", "user-data", "#!/bin/sh\necho {{ no template }}\n", nil, exitOK, ""},
		{"a boothook", "user-data", "#cloud-boothook\n#!/bin/sh\necho\n", nil, exitOK, "$: warning: a boothook runs with the other scripts here, not before the network\n"},
		{"addresses", "user-data", "#include\nhttp://192.0.2.1/a\nhttp://192.0.2.1/b\n", nil, exitOK,
			"$: warning: not looked at: #include http://192.0.2.1/a\n$: warning: not looked at: #include http://192.0.2.1/b\n"},
		{"a template", "user-data", "## template: jinja\n#cloud-config\nhostname: '{{ v1.name }}'\n", nil, exitFailed,
			"$: templates are not filled in; taken as it is\n$:2:11: hostname: expected a host name: letters, digits and hyphens, at most 64\n"},
		{"an unsupported kind", "user-data", "#part-handler\nimport x\n", nil, exitFailed, "$: \"#part-handler\" is not supported here\n"},
		{"services", "web.yml", "web: {image: nginx, restart: allways}\n", nil, exitFailed, "$:1:30: web.restart: expected no, always, unless-stopped or on-failure[:COUNT]\n"},
		{"a Compose file", "compose.yml", "services: {web: {image: nginx}}\nnetworks: {a: {internal: true}}\n", nil, exitOK,
			"$:2:15: warning: networks.a: no effect, it is made as the daemon makes it; to have another, make it with docker first\n"},
		{"a network-config", "network-config", "version: 2\nethernets:\n  ens18: {dhcp4: true, mtu: big, wifi: x}\n", nil, exitFailed,
			"$:3: expected a whole number\n$:3: ens18: \"wifi\" has no effect here\n"},
		{"by another name, of version 1", "net.yml", "network:\n  version: 1\n  config:\n  - {type: physical, name: eth0, subnets: [{type: static, address: 10.0.0.2}]}\n", []string{"--network"}, exitFailed,
			"$: address 10.0.0.2: \"\": expected a prefix length or netmask\n"},
		{"one that is no YAML", "network-config", "version: 2\nethernets:\n  a: {dhcp4: true}\n  - b\n", nil, exitFailed, "$:4: invalid YAML: did not find expected key, in what begins on line 3\n"},
		{"OpenStack's", "network_data.json", `{"links": [], "networks": [{"id": "n", "link": "l", "type": "ipv4_dhcp"}]}`, []string{"--network"}, exitFailed, "$: network \"n\": no link \"l\"\n"},
		{"Debian's", "interfaces", "auto eth0\niface eth0 inet static\n  address 10.0.0.2/24\n  up ip route add 10.1.0.0/16 via 10.0.0.1\n", []string{"--network"}, exitFailed, "$: \"up\" has no effect here\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), tt.file)
			if err := os.WriteFile(file, []byte(tt.text), 0o644); err != nil {
				t.Fatal(err)
			}
			code, stdout, stderr := rosInput(places{}, "", append([]string{"config", "validate"}, append(tt.args, file)...)...)
			if diff := cmp.Diff(tt.want, strings.ReplaceAll(stdout, file, "$")); diff != "" || code != tt.code || stderr != "" {
				t.Errorf("exit code %d, want %d; %s\n%s", code, tt.code, stderr, diff)
			}
		})
	}
}
