package osconfig

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const editText = `#cloud-config
# my machine
hostname: web1   # short

ssh_authorized_keys: []
rancher:
  # who may come in
  ssh:
    port: 22
    # not from outside
    listen_address: 10.0.0.1

  sysctl: {a.b: 1, c.d: 2}   # tuned
  services:
    web:
      image: nginx
      command: |
        # no comment
        run

# the end
`

func TestSet(t *testing.T) {
	tests := []struct {
		name, text, key, value string
		was, is                string // what changes in the text
	}{
		{"replace", editText, "hostname", "web2", "web1   # short", "web2 # short"},
		{"replace below", editText, "rancher.ssh.port", "2200", "port: 22\n", "port: 2200\n"},
		{"add below", editText, "rancher.ssh.daemon", "false", "10.0.0.1\n", "10.0.0.1\n    daemon: false\n"},
		{"add in between", editText, "rancher.debug", "true", "        run\n", "        run\n  debug: true\n"},
		{"add at the end", editText, "fqdn", "web1.example.org", "        run\n", "        run\nfqdn: web1.example.org\n"},
		{"add with what is above", editText, "rancher.network.dns.nameservers", "[1.1.1.1]", "        run\n",
			"        run\n  network:\n    dns:\n      nameservers: [1.1.1.1]\n"},
		{"in braces", editText, "rancher.sysctl.a.b", "3", "{a.b: 1, c.d: 2}   # tuned", "{a.b: \"3\", c.d: 2} # tuned"},
		{"older name", "ca-certs: {remove-defaults: false}\n", "ca-certs.remove-defaults", "true",
			"remove-defaults: false", "remove-defaults: true"},
		{"text that looks like something else", editText, "rancher.password", "#0: *a", "        run\n", "        run\n  password: '#0: *a'\n"},
		{"commands", editText, "runcmd", "[[touch, /a], echo b]", "        run\n", "        run\nruncmd: [[touch, /a], echo b]\n"},
		{"all in braces", "{hostname: a}\n", "fqdn", "b", "{hostname: a}", "{hostname: a, fqdn: b}"},
		{"empty", "", "hostname", "a", "", "hostname: a\n"},
		{"only comments", "#cloud-config\n# hello", "rancher.debug", "true", "# hello", "# hello\nrancher:\n  debug: true\n"},
		{"no line end", "hostname: a", "rancher.debug", "true", "hostname: a", "hostname: a\nrancher:\n  debug: true\n"},
		{"null", "rancher:\nhostname: a\n", "rancher.debug", "true", "rancher:\n", "rancher:\n  debug: true\n"},
		{"mistakes elsewhere stay", "hostnam: a\nhostname: b\n", "hostname", "c", "hostname: b", "hostname: c"},
		{"end of the document", "---\nhostname: a\n...\n", "fqdn", "b", "a\n", "a\nfqdn: b\n"},
		{"windows", "hostname: a\r\nfqdn: b\r\n", "fqdn", "c", "fqdn: b\r\n", "fqdn: c\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Set([]byte(tt.text), tt.key, tt.value)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.Replace(tt.text, tt.was, tt.is, 1), string(got)); diff != "" {
				t.Errorf("Set(%s, %s) (-want +got):\n%s", tt.key, tt.value, diff)
			}
		})
	}
}

func TestSetRefuses(t *testing.T) {
	tests := []struct{ name, text, key, value, want string }{
		{"unknown key", editText, "hostnam", "a", "hostnam: unknown key; did you mean hostname?"},
		{"unknown key below", editText, "rancher.ssh.prt", "1", "rancher.ssh.prt: unknown key; did you mean port?"},
		{"no parts", editText, "hostname.x", "1", "hostname.x: unknown key: hostname has no parts"},
		{"not supported", editText, "packages", "[a]", "packages: not supported here: "},
		{"value", editText, "rancher.ssh.port", "many", "rancher.ssh.port: expected a port number"},
		{"kind", editText, "runcmd", "a", "runcmd: expected a list"},
		{"item", editText, "write_files", "[{path: a}]", "write_files[0].path: expected the absolute path"},
		{"map key", editText, "rancher.network.interfaces.a b.dhcp", "true", "expected the name of an interface"},
		{"syntax", editText, "runcmd", "[", "runcmd: not valid YAML: "},
		{"nothing", editText, "runcmd", "", "runcmd: the value is empty"},
		{"documents", "---\nhostname: a\n---\nhostname: b\n", "hostname", "c", "below line 2 first"},
		{"endless", editText, "runcmd", "&a [*a]", "runcmd: too large"},
		{"no key", editText, "", "a", "expected a key"},
		{"broken file", "a: [\n", "hostname", "a", "mend it first: line "},
		{"list", "- a\n", "hostname", "a", "the file holds a list"},
		{"alias", "rancher: {services: {a: &a {image: x}, b: *a}}\n", "rancher.services.b.image", "y", "b in line 1 is an alias"},
		{"anchor", "rancher: {services: {a: &a {image: x}, b: *a}}\n", "rancher.services.a", "{image: y}", "other lines refer to this one"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := Set([]byte(tt.text), tt.key, tt.value); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Set(%s, %s) = %q, %v; want error %q", tt.key, tt.value, got, err, tt.want)
			}
		})
	}
}

func TestDelete(t *testing.T) {
	tests := []struct{ name, text, key, was, is string }{
		{"entry", editText, "hostname", "hostname: web1   # short\n", ""},
		{"entry below", editText, "rancher.ssh.listen_address", "    listen_address: 10.0.0.1\n", ""},
		{"with what is below", editText, "rancher.ssh", "  ssh:\n    port: 22\n    # not from outside\n    listen_address: 10.0.0.1\n", ""},
		{"with what is empty then", editText, "rancher.services.web", "  services:\n    web:\n      image: nginx\n      command: |\n        # no comment\n        run\n", ""},
		{"in braces", editText, "rancher.sysctl.c.d", "{a.b: 1, c.d: 2}   # tuned", "{a.b: 1} # tuned"},
		{"not there", editText, "rancher.ssh.daemon", "", ""},
		{"the only one", "#cloud-config\nhostname: a\n", "hostname", "hostname: a\n", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Delete([]byte(tt.text), tt.key)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.Replace(tt.text, tt.was, tt.is, 1), string(got)); diff != "" {
				t.Errorf("Delete(%s) (-want +got):\n%s", tt.key, diff)
			}
		})
	}
}

func TestMergeText(t *testing.T) {
	const more = `
hostname: web2
rancher:
  ssh: {daemon: false}
  services:
    web: {image: nginx:2}
    db: &db {image: postgres}
    db2: *db
`
	got, err := MergeText([]byte(editText), []byte(more))
	if err != nil {
		t.Fatal(err)
	}
	want := strings.NewReplacer(
		"web1   # short", "web2 # short",
		"10.0.0.1\n", "10.0.0.1\n    daemon: false\n",
		"image: nginx\n", "image: nginx:2\n",
		"        run\n", "        run\n    db:\n      image: postgres\n    db2:\n      image: postgres\n",
	).Replace(editText)
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("MergeText (-want +got):\n%s", diff)
	}
	if _, err := MergeText([]byte(editText), []byte("hostname: a b\nrancher: {shh: 1}\n")); err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("MergeText of two mistakes: %v; want both", err)
	}
}
