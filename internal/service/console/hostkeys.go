package console

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/crypto/ssh"

	"github.com/bulkhead-os/bulkhead/internal/layout"
)

// generatedKey is the host key that a machine makes for itself. Every client
// since OpenSSH 6.5 (2014) knows the kind; of the others, auditors doubt
// ECDSA's curves, and RSA takes seconds to make on a slow machine.
const generatedKey = "ssh_host_ed25519_key"

// configuredKeys is where host keys of the configuration lie, in the console's
// own file system.
const configuredKeys = "/etc/ssh"

// A hostKey is one that sshd is to use.
type hostKey struct {
	// Kind is "ed25519", "ecdsa" or "rsa".
	Kind, Path string
	// Certificate is a file, or empty.
	Certificate string
}

// algorithms are the signatures that a key makes, the preferred first.
func (k hostKey) algorithms() []string {
	var list []string
	switch k.Kind {
	case "rsa":
		list = []string{"rsa-sha2-512", "rsa-sha2-256"}
	case "ecdsa":
		list = []string{"ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"}
	default:
		list = []string{"ssh-ed25519"}
	}
	if k.Certificate == "" {
		return list
	}
	var certified []string
	for _, a := range list {
		certified = append(certified, a+"-cert-v01@openssh.com")
	}
	return append(certified, list...)
}

// hostKeys writes the host keys of the configuration, as those of a machine
// that came from RancherOS, or makes the machine's own when there are none.
func (c *console) hostKeys() ([]hostKey, error) {
	var keys []hostKey
	var errs []error
	own, old := c.cfg.SSHKeys, c.cfg.Rancher.SSH.Keys
	for _, k := range []struct{ kind, private, certificate string }{
		{"ed25519", cmp.Or(own.Ed25519Private.Reveal(), old["ed25519"].Reveal()), string(own.Ed25519Certificate)},
		{"ecdsa", cmp.Or(own.ECDSAPrivate.Reveal(), old["ecdsa"].Reveal()), string(own.ECDSACertificate)},
		{"rsa", cmp.Or(own.RSAPrivate.Reveal(), old["rsa"].Reveal()), string(own.RSACertificate)},
	} {
		if k.private == "" {
			continue
		}
		key := hostKey{Kind: k.kind, Path: filepath.Join(configuredKeys, "ssh_host_"+k.kind+"_key")}
		if _, err := ssh.ParseRawPrivateKey([]byte(k.private)); err != nil {
			errs = append(errs, fmt.Errorf("host key %s: %w", k.kind, err))
			continue
		}
		if err := os.WriteFile(key.Path, []byte(k.private+"\n"), 0o600); err != nil {
			errs = append(errs, err)
			continue
		}
		if k.certificate != "" {
			key.Certificate = key.Path + "-cert.pub"
			errs = append(errs, os.WriteFile(key.Certificate, []byte(k.certificate+"\n"), 0o644))
		}
		keys = append(keys, key)
	}
	if len(keys) > 0 {
		return keys, errors.Join(errs...)
	}
	errs = append(errs, ensureHostKey(layout.SSHKeyDir))
	return []hostKey{{Kind: "ed25519", Path: filepath.Join(layout.SSHKeyDir, generatedKey)}}, errors.Join(errs...)
}
