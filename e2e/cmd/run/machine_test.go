package main

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestUserData(t *testing.T) {
	keys := []string{"ssh-ed25519 AAAA me", "ssh-ed25519 BBBB run"}
	const added = "ssh_authorized_keys:\n  - ssh-ed25519 AAAA me\n  - ssh-ed25519 BBBB run\n"
	tests := []struct {
		name, own string
		password  bool
		want      string
	}{
		{"nothing of one's own", "", false, "#cloud-config\n" + added},
		{"no key to log in with", "", true, "#cloud-config\n" + added + "rancher:\n  password: rancher\n"},
		{"own document", "#cloud-config\nhostname: a", false, "#cloud-config\nhostname: a\n" + added},
		{"own keys", "#cloud-config\nssh_authorized_keys: [x]\n", false, "#cloud-config\nssh_authorized_keys: [x]\n"},
		{"own rancher section", "#cloud-config\nrancher:\n  debug: true\n", true, "#cloud-config\nrancher:\n  debug: true\n" + added},
		{"script", "#!/bin/sh\necho hi\n", true, "#!/bin/sh\necho hi\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, userData(tt.own, keys, tt.password)); diff != "" {
				t.Errorf("user data differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestProgressFitsTheTerminal(t *testing.T) {
	line := progress(7*time.Second, []string{strings.Repeat("x", 200)}, 40)
	if n := len([]rune(line)); n >= 40 {
		t.Errorf("line has %d characters; want fewer than 40", n)
	}
	if got, want := progress(7*time.Second, nil, 80), "booting   7 s"; got != want {
		t.Errorf("progress = %q; want %q", got, want)
	}
}

func TestParse(t *testing.T) {
	tests := []struct {
		name string
		args []string
		ok   bool
	}{
		{"nothing", nil, true},
		{"RancherOS's switches", strings.Fields("--memory 512 --fresh --iso a.iso --second-drive --no-format --uefi --headless"), true},
		{"unknown switch", []string{"--bogus"}, false},
		{"loose argument", []string{"bogus"}, false},
		{"kernel line without a kernel", []string{"--boothd", "--append", "debug"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := parse(tt.args, io.Discard); (err == nil) != tt.ok {
				t.Errorf("parse(%q) error = %v; want ok: %v", tt.args, err, tt.ok)
			}
		})
	}
}
