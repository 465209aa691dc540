package console

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"github.com/bulkhead-os/bulkhead/images/console/accounts"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

func TestGettys(t *testing.T) {
	const usual1, usual2 = "agetty --noclear tty1 linux", "agetty --keep-baud hvc0 115200,57600,38400,9600 vt220"
	tests := []struct {
		name, kernelLine string
		autologin        []string
		want             []string
	}{
		{"no console", "quiet", nil, []string{usual1, usual2}},
		{"serial", "console=tty0 console=ttyS0,115200n8", nil,
			[]string{usual1, usual2, "agetty --keep-baud ttyS0 115200,57600,38400,9600 vt220"}},
		{"null", "console=null", nil, []string{usual1, usual2}},
		{"given twice", "console=hvc0 console=hvc0", []string{"tty1", "hvc0"},
			[]string{"agetty --autologin rancher --noclear tty1 linux", "agetty --autologin rancher --keep-baud hvc0 115200,57600,38400,9600 vt220"}},
		{"autologin elsewhere", "", []string{"tty2"},
			[]string{usual1, usual2, "agetty --autologin rancher --noclear tty2 linux"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, task := range gettys(tt.kernelLine, tt.autologin) {
				got = append(got, strings.TrimPrefix(strings.Join(task.argv, " "), "/usr/sbin/"))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("gettys(%q, %v) (-want +got):\n%s", tt.kernelLine, tt.autologin, diff)
			}
		})
	}
}

func TestMergeKeys(t *testing.T) {
	block := func(keys ...string) string {
		return keysBegin + "\n" + strings.Join(keys, "\n") + "\n" + keysEnd + "\n"
	}
	tests := []struct {
		name, old string
		keys      []osconfig.AuthorizedKey
		want      string
	}{
		{"nothing", "", nil, ""},
		{"first boot", "", []osconfig.AuthorizedKey{"b", "a", "b"}, block("b", "a")},
		{"same again", block("b", "a"), []osconfig.AuthorizedKey{"b", "a"}, block("b", "a")},
		{"own keys stay", block("a") + "own x\n# note\n", []osconfig.AuthorizedKey{"a"}, block("a") + "own x\n# note\n"},
		{"a key is withdrawn", block("a", "b") + "own\n", []osconfig.AuthorizedKey{"b"}, block("b") + "own\n"},
		{"all keys are withdrawn", block("a") + "own\n", nil, "own\n"},
		{"an own key is configured now", "a\nown\n", []osconfig.AuthorizedKey{"a"}, block("a") + "own\n"},
		{"no line end", "own", []osconfig.AuthorizedKey{"a"}, block("a") + "own\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(mergeKeys([]byte(tt.old), tt.keys)); got != tt.want {
				t.Errorf("mergeKeys = %q; want %q", got, tt.want)
			}
		})
	}
}

func TestWriteAuthorizedKeys(t *testing.T) {
	home := t.TempDir()
	for range 2 {
		if err := writeAuthorizedKeys(home, self(), []osconfig.AuthorizedKey{"a"}); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]fs.FileMode{".ssh": fs.ModeDir | 0o700, ".ssh/authorized_keys": 0o600} {
		info, err := os.Stat(filepath.Join(home, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("mode of %s = %v; want %v", name, info.Mode(), want)
		}
	}
}

func TestWriteAuthorizedKeysFollowsNoLinkOut(t *testing.T) {
	home, elsewhere := t.TempDir(), t.TempDir()
	if err := os.Symlink(elsewhere, filepath.Join(home, ".ssh")); err != nil {
		t.Fatal(err)
	}
	if err := writeAuthorizedKeys(home, self(), []osconfig.AuthorizedKey{"a"}); err == nil {
		t.Error("writeAuthorizedKeys through a link out of the home: no error")
	}
	if entries, err := os.ReadDir(elsewhere); err != nil || len(entries) > 0 {
		t.Errorf("the link's target has %v (%v); want nothing", entries, err)
	}
}

func TestMakeHome(t *testing.T) {
	skel, dir := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(skel, ".profile"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	home := filepath.Join(dir, "user")
	// What a power cut left.
	if err := os.Mkdir(home+".new", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := makeHome(home, self(), skel); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, ".profile"), []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := makeHome(home, self(), skel); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(home, ".profile")); err != nil || string(got) != "mine" {
		t.Errorf(".profile after the second boot = %q, %v; want mine", got, err)
	}
}

func TestEnsureHostKey(t *testing.T) {
	for _, kind := range keyKinds {
		t.Run(string(kind), func(t *testing.T) {
			path := keyFile(t.TempDir(), kind)
			// What a power cut may leave.
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			var keys [2]string
			for i := range keys {
				if err := ensureHostKey(path, kind); err != nil {
					t.Fatal(err)
				}
				private, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				signer, err := ssh.ParsePrivateKey(private)
				if err != nil {
					t.Fatal(err)
				}
				keys[i] = string(ssh.MarshalAuthorizedKey(signer.PublicKey()))
				public, err := os.ReadFile(path + ".pub")
				if err != nil || string(public) != keys[i] {
					t.Errorf("public key = %q, %v; want %q", public, err, keys[i])
				}
			}
			if keys[0] != keys[1] {
				t.Error("the second boot has another host key")
			}
			if !strings.Contains(keys[0], string(kind)) {
				t.Errorf("key %q; want one of kind %s", keys[0], kind)
			}
		})
	}
}

func TestKeepInstance(t *testing.T) {
	dir := t.TempDir()
	key := keyFile(dir, usualKind)
	for _, tt := range []struct {
		name, instance string
		renew, stays   bool
	}{
		{"a machine from before", "one", true, true},
		{"the same", "one", true, true},
		{"a copy that is not asked to", "two", false, true},
		{"no metadata", "", true, true},
		{"a copy", "two", true, false},
		{"the copy again", "two", true, true},
	} {
		if err := os.WriteFile(key, []byte("key"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := keepInstance(dir, tt.instance, tt.renew); err != nil {
			t.Fatal(err)
		}
		if exists(key) != tt.stays {
			t.Errorf("%s: the key is there: %v; want %v", tt.name, exists(key), tt.stays)
		}
	}
}

// self is the account that runs the test.
func self() accounts.IDs { return accounts.IDs{UID: os.Getuid(), GID: os.Getgid()} }

func TestRenderSSHD(t *testing.T) {
	tests := []struct {
		name      string
		settings  sshdSettings
		want, not []string
	}{
		{"defaults", sshdSettings{SSH: osconfig.Defaults().Rancher.SSH, Keys: []hostKey{{Kind: "ed25519", Path: "/k"}}}, []string{"\nPort 22\n", "\nPasswordAuthentication no\n", "\nPermitRootLogin no\n",
			"\nHostKey /k\n", "\nHostKeyAlgorithms ssh-ed25519\n", " LANG=C.UTF-8\n"}, []string{"\nListenAddress", "HostCertificate"}},
		{"all set", sshdSettings{Passwords: true, SSH: osconfig.SSH{Port: 2200, ListenAddress: "::1"},
			Environment: []string{"http_proxy=http://p:1"}, Keys: []hostKey{{Kind: "rsa", Path: "/r", Certificate: "/c"}}},
			[]string{"\nHostCertificate /c\n", "\nHostKeyAlgorithms rsa-sha2-512-cert-v01@openssh.com,",
				` LANG=C.UTF-8 "http_proxy=http://p:1"`, "\nPort 2200\n", "\nListenAddress ::1\n", "\nPasswordAuthentication yes\n"}, []string{"\nPort 22\n"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := renderSSHD(tt.settings)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range tt.want {
				if !strings.Contains(got, want) {
					t.Errorf("no %q in:\n%s", want, got)
				}
			}
			for _, not := range tt.not {
				if strings.Contains(got, not) {
					t.Errorf("%q in:\n%s", not, got)
				}
			}
		})
	}
}

func TestSysctlPath(t *testing.T) {
	tests := []struct{ name, want string }{
		{"net.ipv4.ip_forward", "/proc/sys/net/ipv4/ip_forward"},
		{"net.ipv4.conf.eth0/100.forwarding", "/proc/sys/net/ipv4/conf/eth0.100/forwarding"},
		{"net/ipv4/conf/eth0.100/forwarding", "/proc/sys/net/ipv4/conf/eth0.100/forwarding"},
		{"kernel", "/proc/sys/kernel"},
		{"../../etc/passwd", "/proc/sys/.etc.passwd"},
		{"/../../etc/passwd", "/proc/sys/etc/passwd"},
	}
	for _, tt := range tests {
		if got := sysctlPath(tt.name); got != tt.want {
			t.Errorf("sysctlPath(%q) = %q; want %q", tt.name, got, tt.want)
		}
	}
}

func TestScriptCommand(t *testing.T) {
	tests := []struct {
		name, text string
		mode       fs.FileMode
		want       string // with %s for the path
	}{
		{"program", "#!/bin/bash\n", 0o755, "%s"},
		{"not executable", "#!/bin/bash\n", 0o644, "/bin/sh %s"},
		{"no interpreter", "echo\n", 0o755, "/bin/sh %s"},
		{"short", "ls", 0o755, "/bin/sh %s"},
		{"empty", "", 0o755, ""},
		{"missing", "", 0, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "script")
			if tt.mode != 0 {
				if err := os.WriteFile(path, []byte(tt.text), tt.mode); err != nil {
					t.Fatal(err)
				}
			}
			got, err := scriptCommand(path)
			if err != nil {
				t.Fatal(err)
			}
			if want := strings.ReplaceAll(tt.want, "%s", path); strings.Join(got, " ") != want {
				t.Errorf("scriptCommand = %q; want %q", got, want)
			}
		})
	}
}

func TestRootsOwn(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(dir, script string) error
		want   string
	}{
		{"root's", func(string, string) error { return nil }, ""},
		{"missing", func(_, script string) error { return os.Remove(script) }, ""},
		{"file for all", func(_, script string) error { return os.Chmod(script, 0o757) }, "chmod go-w"},
		{"directory for all", func(dir, _ string) error { return os.Chmod(dir, 0o777) }, "chmod go-w"},
		{"link", func(dir, script string) error {
			return errors.Join(os.Rename(script, dir+"/other"), os.Symlink("other", script))
		}, "is a link"},
		{"behind a link", func(dir, _ string) error {
			return errors.Join(os.Rename(dir, dir+".old"), os.Symlink("bin.old", dir))
		}, "is a link"},
		{"somebody's", func(_, script string) error { return os.Chown(script, 1000, 1000) }, "is not root's"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.name == "somebody's" && os.Geteuid() != 0 {
				t.Skip("only root can give files away")
			}
			root := t.TempDir()
			dir := filepath.Join(root, "rancher", "bin")
			script := filepath.Join(dir, "start.sh")
			if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(script, []byte("id\n"), 0o755), tt.change(dir, script)); err != nil {
				t.Fatal(err)
			}
			err := rootsOwn(root, script)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("rootsOwn = %v; want %q", err, tt.want)
			}
		})
	}
}

// RancherOS's test_26: an empty item, a command that fails, one after it.
func TestRunOne(t *testing.T) {
	output := filepath.Join(t.TempDir(), "log")
	c := &console{log: slog.New(slog.DiscardHandler), output: output}
	var failed []string
	for i, cmd := range []osconfig.Command{{}, {"/bin/sh", "-c", ""}, {"no-such-program"}, {"/bin/sh", "-c", "echo $HOME; exit 3"}, {"echo", "a b"}} {
		name := fmt.Sprint("command", i)
		if err := c.runOne(t.Context(), name, cmd); err != nil {
			failed = append(failed, name)
		}
	}
	if diff := cmp.Diff([]string{"command2", "command3"}, failed); diff != "" {
		t.Errorf("commands that failed (-want +got):\n%s", diff)
	}
	text, err := os.ReadFile(output)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{" command3\n/root\n", " command4\na b\n"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("log = %q; want %q in it", text, want)
		}
	}
}

func TestListens(t *testing.T) {
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0100007F:1F90 0100007F:8D9C 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0 100 0 0 10 0
`
	for port, want := range map[uint16]bool{22: true, 8080: false, 80: false} {
		got, err := listens(strings.NewReader(table), port)
		if err != nil || got != want {
			t.Errorf("listens(%d) = %v, %v; want %v", port, got, err, want)
		}
	}
}

// A program that ends is started again; one that runs ends with the service.
func TestKeep(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	c := &console{log: slog.New(slog.DiscardHandler)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.keep(ctx, task{name: "test", argv: []string{"/bin/sh", "-c", "cd " + dir + "; [ ! -e first ] || { : > second; exec sleep 60; }; : > first"}})
	}()
	deadline := time.Now().Add(10 * time.Second)
	for {
		if _, err := os.Stat(filepath.Join(dir, "second")); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the program was not started a second time")
		}
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("the program did not end with the service")
	}
}
