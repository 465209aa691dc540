package osconfig

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-os/bulkhead/internal/layout"
)

const (
	keyA = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFh"
	keyB = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJi b"
)

func ptr(s string) *string { return &s }

func account(name UserName) User { return User{Name: name, LockPasswd: true} }

// overlay sets what is not zero.
func overlay(to, from reflect.Value) {
	switch {
	case from.IsZero():
	case from.Kind() == reflect.Struct:
		for i := range from.NumField() {
			overlay(to.Field(i), from.Field(i))
		}
	default:
		to.Set(from)
	}
}

func TestMerge(t *testing.T) {
	tests := []struct {
		name string
		text string
		want Config // beside the defaults
	}{
		{"empty", "", Config{}},
		{"only a comment", "#cloud-config\n", Config{}},
		{"top level", "hostname: web1.example.org\nssh_authorized_keys: [" + keyA + ", \"# us\\n" + keyB + "\"]\n",
			Config{Hostname: "web1.example.org", SSHAuthorizedKeys: KeyList{keyA, keyB}}},
		{"runcmd", "runcmd:\n- touch /a b\n- [touch, /a b]\n- ''\n- [echo, 1, true]\n",
			Config{RunCmd: []Command{{"/bin/sh", "-c", "touch /a b"}, {"touch", "/a b"}, {"/bin/sh", "-c", ""}, {"echo", "1", "true"}}}},
		{"write_files", `
write_files:
- path: /etc/a
  content: |
    one
    two
- {path: /etc/b/../c, permissions: 0600, owner: "rancher:docker", encoding: gz+b64, container: ntp, content: H4sI}
- {path: /d, permissions: "755"}
`,
			Config{WriteFiles: []File{
				{Path: "/etc/a", Content: "one\ntwo\n", Owner: "root", Permissions: 0o644, Container: "console"},
				{Path: "/etc/c", Content: "H4sI", Owner: "rancher:docker", Permissions: 0o600, Encoding: Encoding{true, true}, Container: "ntp"},
				{Path: "/d", Owner: "root", Permissions: 0o755, Container: "console"},
			}}},
		{"words for true and false", "rancher: {debug: Yes, recovery: ON}",
			Config{Rancher: Rancher{Debug: true, Recovery: true}}},
		{"texts that look like something else", "hostname: 007\nrancher: {password: 0123, sysctl: {fs.file-max: 1000, a: yes}}",
			Config{Hostname: "007", Rancher: Rancher{Password: "0123", Sysctl: map[string]string{"fs.file-max": "1000", "a": "yes"}}}},
		{"null is not given", "hostname:\nssh_authorized_keys: [" + keyA + ", null]\nrancher: {ssh: {port: ~}}",
			Config{SSHAuthorizedKeys: KeyList{keyA}}},
		{"services", `
rancher:
  services:
    web:
      image: nginx
      command: nginx -g 'daemon off;'
      environment: [A=1, B, C=x=y]
      labels: {a: 1, b: }
      ports: [80, "443:443"]
      net: host
    job:
      command: [a, b c]
      environment: {A: 1, B: , C: ""}
      labels: [a=1, b]
      privileged: true
`,
			Config{Rancher: Rancher{Services: map[string]Service{
				"web": {Image: "nginx", Command: Words{"nginx", "-g", "daemon off;"}, Net: "host",
					Environment: Environment{"A": ptr("1"), "B": nil, "C": ptr("x=y")},
					Labels:      Labels{"a": "1", "b": ""}, Ports: []string{"80", "443:443"}},
				"job": {Command: Words{"a", "b c"}, Privileged: true,
					Environment: Environment{"A": ptr("1"), "B": nil, "C": ptr("")},
					Labels:      Labels{"a": "1", "b": ""}},
			}}}},
		{"aliases and merge keys", "rancher:\n  services:\n    a: &a {image: x, restart: always}\n    b: {<<: *a, image: y}\n    c: {<<: [{image: z}, *a]}\n",
			Config{Rancher: Rancher{Services: map[string]Service{
				"a": {Image: "x", Restart: "always"}, "b": {Image: "y", Restart: "always"}, "c": {Image: "z", Restart: "always"},
			}}}},
		{"binary", "hostname: !!binary " + base64.StdEncoding.EncodeToString([]byte("host")), Config{Hostname: "host"}},
		{"accounts in lists of names", "users: [default, [anna, bert], null]", Config{Users: UserList{account("default"), account("anna"), account("bert")}}},
		{"accounts as a map", "users: {default: true, anna: {uid: 2000, groups: {docker: [anna], sudo: }}, bert: no, cleo: }",
			Config{Users: UserList{account("default"), {Name: "anna", UID: "2000", Groups: NameList{"docker", "sudo"}, LockPasswd: true}}}},
		{"groups in all ways", "groups: [a, {b: c, d: [e, f], g: }, null]",
			Config{Groups: GroupList{{Name: "a"}, {Name: "b", Members: []UserName{"c"}}, {Name: "d", Members: []UserName{"e", "f"}}, {Name: "g"}}}},
		{"groups as a map", "groups: {a: 'b, c', d: }", Config{Groups: GroupList{{Name: "a", Members: []UserName{"b", "c"}}, {Name: "d"}}}},
		{"numbers for true and false", "ssh_pwauth: 1\nrancher: {debug: 1}", Config{SSHPasswordAuth: "true", Rancher: Rancher{Debug: true}}},
		{"sizes and growth", "swap: {size: 1.5MB}\ngrowpart: {mode: 'false', devices: /}",
			Config{Swap: Swap{Size: "1.5MB"}, GrowPart: GrowPart{Mode: "off", Devices: StringList{"/"}}}},
		{"lists of one", "rancher: {autologin: tty1, state: {autoformat: [/dev/sda]}}",
			Config{Rancher: Rancher{Autologin: StringList{"tty1"}, State: State{Autoformat: StringList{"/dev/sda"}}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := Defaults()
			if problems := got.Merge("test.yml", []byte(tt.text)); len(problems) > 0 {
				t.Errorf("problems: %v", problems)
			}
			want := Defaults()
			overlay(reflect.ValueOf(&want).Elem(), reflect.ValueOf(tt.want))
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(Encoding{})); diff != "" {
				t.Errorf("configuration (-want +got):\n%s", diff)
			}
		})
	}
}

func TestProblems(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string
	}{
		{"mistyped key", "hostnam: a\n", []string{"f:1:1: hostnam: unknown key; did you mean hostname?"}},
		{"mistyped key below", "rancher:\n  sshh:\n    port: 22\n", []string{"f:2:3: rancher.sshh: unknown key; did you mean ssh?"}},
		{"nothing near", "zzzzzz: 1", []string{"f:1:1: zzzzzz: unknown key"}},
		{"not yet", "rancher: {upgrade: {policy: auto}}", []string{"f:1:21: warning: rancher.upgrade.policy: has no effect in this version"}},
		{"a firewall that closes ssh", "rancher:\n  network:\n    firewall:\n      default: drop\n", []string{"f:4:7: warning: rancher.network.firewall: closes port 22, where people log in by ssh; add 22 to allow"}},
		{"another port of ssh", "rancher: {ssh: {port: 2200}, network: {firewall: {default: drop, allow: [22]}}}", []string{"f:1:50: warning: rancher.network.firewall: closes port 2200, where people log in by ssh; add 2200 to allow"}},
		{"ssh denied to all", "rancher: {network: {firewall: {deny: [20-30 from 0.0.0.0/0]}}}", []string{"f:1:31: warning: rancher.network.firewall: closes port 22, where people log in by ssh; add 22 to allow"}},
		{"no ssh to close", "rancher: {ssh: {daemon: false}, network: {firewall: {default: drop}}}", nil},
		{"ssh for some", "rancher: {network: {firewall: {default: drop, allow: ['22 from 10.0.0.0/8', 80, 53/udp]}}}", nil},
		{"ssh denied to some", "rancher: {network: {firewall: {default: accept, deny: ['22 on eth1', any from 10.0.0.0/8, 22/udp]}}}", nil},
		{"older names of cloud-init", "users: [{name: a, create-groups: true, ssh-redirect-user: b}]", []string{
			"f:1:19: warning: users[0].create-groups: has no effect: they are always made",
			"f:1:40: warning: users[0].ssh-redirect-user: has no effect: give the account no keys",
		}},
		{"syntax", "a: b\n  c: [\n", []string{"f:2:4: invalid YAML, file ignored: mapping values are not allowed in this context"}},
		{"list at the top", "- a\n", []string{"f:1:1: expected a mapping (key: value) at the top level, found a list"}},
		{"text at the top", "hello", []string{"f:1:1: expected a mapping (key: value) at the top level, found a single value"}},
		{"wrong types", "hostname: [a]\nssh_authorized_keys: a\nruncmd: {a: b}\nrancher: {services: [], ssh: {port: many}, debug: maybe, modules: [[a]], cloud_init: {wait: -1}}", []string{
			"f:1:11: hostname: expected a text, found a list",
			"f:2:22: ssh_authorized_keys: expected a list, found a single value",
			"f:3:9: runcmd: expected a list, found a mapping",
			"f:4:21: rancher.services: expected a mapping (key: value), found a list",
			"f:4:37: rancher.ssh.port: expected a port number, 1 to 65535",
			"f:4:51: rancher.debug: expected true or false",
			"f:4:68: rancher.modules[0]: expected a text, found a list",
			"f:4:93: rancher.cloud_init.wait: expected a whole number from 0",
		}},
		{"values", "hostname: a b\nwrite_files:\n- {path: etc/a}\n- {path: /a, permissions: 9}\n- {path: /b, encoding: rot13}\n", []string{
			"f:1:11: hostname: expected a host name: letters, digits and hyphens, at most 64",
			"f:3:10: write_files[0].path: expected the absolute path of a file",
			`f:4:27: write_files[1].permissions: expected octal permissions such as "0644"`,
			`f:5:24: write_files[2].encoding: expected b64, gz or gz+b64`,
		}},
		{"given twice", "hostname: a\nhostname: b\n", []string{"f:2:1: hostname: duplicate key; this value overrides line 1"}},
		{"quotes", "rancher: {services: {a: {command: \"it's\"}}}", []string{"f:1:35: rancher.services.a.command: a quotation mark has no partner, or a backslash is the end"}},
		{"key that is no word", "? [a]\n: b\n", []string{"f:1:3: expected a word as key, found a list"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := Defaults()
			var got []string
			for _, p := range cfg.Merge("f", []byte(tt.text)) {
				got = append(got, p.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

// What is right beside a mistake applies; an item with a mistake does not, so
// that no file gets default permissions for mistyped ones.
func TestGoodRestApplies(t *testing.T) {
	text := `
hostname: good
write_files:
- {path: /bad, permissions: u+x}
- {path: /good, unknown: 1}
rancher:
  ssh: {port: x, listen_address: 10.0.0.1}
  services:
    bad: {privileged: perhaps}
    good: {image: a}
  network:
    interfaces:
      eth0: {mtu: x, address: 10.0.0.2/24}
      eth1: dhcp
      eth2: {adress: 10.0.0.2/24}
`
	cfg := Defaults()
	d := decoder{source: "f"}
	d.mergeText(&cfg, []byte(text))
	if d.told[Error] != 7 {
		t.Errorf("problems = %v; want 7 mistakes", d.problems)
	}
	want := Defaults()
	want.Hostname = "good"
	want.WriteFiles = []File{{Path: "/good", Owner: "root", Permissions: 0o644, Container: "console"}}
	want.Rancher.SSH.ListenAddress = "10.0.0.1"
	want.Rancher.Services = map[string]Service{"good": {Image: "a"}}
	want.Rancher.Network.Interfaces = Interfaces{"eth0": {Address: "10.0.0.2/24"}, "eth2": {DHCP: true}}
	if diff := cmp.Diff(want, cfg, cmp.AllowUnexported(Encoding{})); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
}

func TestAliasesOfAliases(t *testing.T) {
	var b strings.Builder
	b.WriteString("a: &a [" + strings.Repeat("x,", 1000) + "]\nruncmd: [" + strings.Repeat("*a,", 1000) + "]\n")
	var cfg Config
	problems := cfg.Merge("f", []byte(b.String()))
	if got := fmt.Sprint(problems); !strings.Contains(got, "too large") {
		t.Errorf("problems = %s; want one that says too large", got)
	}
	for _, text := range []string{"a: &a {<<: *a}\n", "hostname: &a [*a]\n", "runcmd: &a [*a, *a]\n", "rancher: &a {services: {x: {<<: *a}}, <<: [*a, *a]}\n"} {
		cfg.Merge("f", []byte(text)) // must come to an end
	}
}

func write(t *testing.T, root, path, text string) {
	t.Helper()
	path = filepath.Join(root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestLoadOrder(t *testing.T) {
	root := t.TempDir()
	write(t, root, layout.CloudConfigDir+"/a.yml", "hostname: from-a\nssh_authorized_keys: ["+keyB+"]\nrancher: {sysctl: {x: a, y: a}, environment: {E: a}, services: {s: {image: a, environment: {A: a, B: a}, volumes: [a]}}}\n")
	write(t, root, layout.CloudConfigDir+"/b.yml", "rancher: {sysctl: {y: b}, services: {s: {environment: {B: b}, volumes: [b]}}}\n")
	write(t, root, layout.CloudConfigDir+"/.hidden.yml", "hostname: hidden\n")
	write(t, root, layout.CloudConfigDir+"/note.txt", "hostname: text\n")
	write(t, root, layout.CloudConfig, "ssh_authorized_keys: ["+keyA+"]\nrancher: {sysctl: {z: own}, ssh: {port: 2200}, unknown: 1}\n")
	meta, err := Metadata{Hostname: "from-metadata", PublicKeys: []string{keyA, keyB}}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	write(t, root, layout.Metadata, string(meta))

	cfg, problems, err := Load(root, `BOOT_IMAGE=/x quiet rancher.sysctl.net.ipv4.ip_forward=1 rancher.ssh.daemon=false rancher.password="a b" `+
		`rancher.autologin=tty1 rancher.autologin=ttyS0 rancher.modules="[a, b]" rancher.ssh.prt=1 rancher.debug cc.runcmd=[[touch,/x],"echo y"] rancher.sysctl.y=kernel`)
	if err != nil {
		t.Fatal(err)
	}
	want := Defaults()
	overlay(reflect.ValueOf(&want).Elem(), reflect.ValueOf(Config{
		Hostname:          "from-a",
		SSHAuthorizedKeys: KeyList{keyA, keyB},
		RunCmd:            []Command{{"touch", "/x"}, {"/bin/sh", "-c", "echo y"}},
		Rancher: Rancher{
			Password:    "a b",
			Autologin:   StringList{"tty1", "ttyS0"},
			SSH:         SSH{Daemon: false, Port: 2200},
			Environment: map[string]string{"E": "a"},
			Sysctl:      map[string]string{"x": "a", "y": "kernel", "z": "own", "net.ipv4.ip_forward": "1"},
			Modules:     []Module{"a", "b"},
			Services: map[string]Service{"s": {Image: "a", Volumes: []string{"b"},
				Environment: Environment{"A": ptr("a"), "B": ptr("b")}}},
			Debug:  true,
			Docker: Engine{Debug: true},
		},
	}))
	want.Rancher.SSH.Daemon = false
	if diff := cmp.Diff(want, cfg, cmp.AllowUnexported(Encoding{})); diff != "" {
		t.Errorf("Load (-want +got):\n%s", diff)
	}
	wantProblems := []Problem{
		{Source: layout.CloudConfig, Line: 2, Column: 48, Key: "rancher.unknown", Text: "unknown key"},
		{Severity: Warning, Source: kernelLine, Key: "rancher.password", Text: "a password in clear, which all programs and containers can read in /proc/cmdline; " +
			"use a hash, as openssl passwd -6 makes it, or ssh_authorized_keys in a configuration file"},
		{Source: kernelLine, Key: "rancher.ssh.prt", Text: "unknown key; did you mean port?"},
	}
	if diff := cmp.Diff(wantProblems, problems); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestPasswordOnKernelLine(t *testing.T) {
	hash := "$6$bulkhead$DuApHLe9WNL3CY0mb1ldTzDHcD1jKoHqFpVSGpmGUvV8sijlgEiCL0Papyff6QALQCiXLAwKrAeqbUw0eHjam0"
	for value, want := range map[string]int{"secret": 1, `"a b"`: 1, hash: 0, `"` + hash + `"`: 0, "!" + hash: 0, "*": 0, "!": 0} {
		cfg, problems, err := Load(t.TempDir(), "quiet rancher.password="+value)
		if err != nil || len(problems) != want || cfg.Rancher.Password == "" {
			t.Errorf("%s: %v, %v", value, problems, err)
		}
		for _, p := range problems {
			if strings.Contains(p.String(), "secret") || p.Severity != Warning {
				t.Errorf("%s: %v", value, p)
			}
		}
	}
	root := t.TempDir()
	write(t, root, layout.CloudConfig, "rancher: {password: secret}\n")
	if _, problems, err := Load(root, ""); err != nil || len(problems) != 0 {
		t.Errorf("in a file: %v, %v", problems, err)
	}
}

func TestLoadNothing(t *testing.T) {
	cfg, problems, err := Load(t.TempDir(), "")
	if err != nil || len(problems) > 0 {
		t.Errorf("Load of an empty machine: %v, %v; want no problems", problems, err)
	}
	if diff := cmp.Diff(Defaults(), cfg, cmp.AllowUnexported(Encoding{})); diff != "" {
		t.Errorf("Load (-want +got):\n%s", diff)
	}
}

func TestLoadUnreadable(t *testing.T) {
	root := t.TempDir()
	write(t, root, layout.CloudConfigDir+"/a.yml", "hostname: a\n")
	if err := os.Mkdir(filepath.Join(root, layout.CloudConfig), 0o755); err != nil {
		t.Fatal(err)
	}
	cfg, _, err := Load(root, "")
	if err == nil || cfg.Hostname != "a" {
		t.Errorf("Load = host name %q, error %v; want a and an error", cfg.Hostname, err)
	}
}

func TestFileBytes(t *testing.T) {
	var zipped bytes.Buffer
	zw := gzip.NewWriter(&zipped)
	if _, err := zw.Write([]byte("text")); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	b64 := base64.StdEncoding.EncodeToString
	tests := []struct {
		name, encoding, content string
		wantErr                 bool
	}{
		{"plain", "", "text", false},
		{"base64 with line feeds", "b64", b64([]byte("text"))[:4] + "\n" + b64([]byte("text"))[4:], false},
		{"gzip", "gzip", zipped.String(), false},
		{"both", "gz+base64", b64(zipped.Bytes()), false},
		{"not base64", "b64", "*", true},
		{"not gzip", "gz", "text", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := File{Content: tt.content}
			if err := f.Encoding.setText(tt.encoding); err != nil {
				t.Fatal(err)
			}
			got, err := f.Bytes()
			if (err != nil) != tt.wantErr || !tt.wantErr && string(got) != "text" {
				t.Errorf("Bytes() = %q, %v; want text, error %v", got, err, tt.wantErr)
			}
		})
	}
}

func TestSecretsAreHidden(t *testing.T) {
	var b bytes.Buffer
	cfg := Config{Rancher: Rancher{Password: "hunter2"}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		fmt.Fprintf(&b, verb+"\n", cfg)
	}
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "cfg", cfg, "password", cfg.Rancher.Password)
	slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "cfg", cfg, "password", cfg.Rancher.Password)
	if strings.Contains(b.String(), "hunter2") || strings.Contains(b.String(), "68756e74") {
		t.Errorf("the password shows:\n%s", b.String())
	}
}
