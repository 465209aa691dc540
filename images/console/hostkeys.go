package console

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/renameio/v2"
	"golang.org/x/crypto/ssh"

	"github.com/bulkhead-os/bulkhead/internal/layout"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

// keyKinds are the kinds of host keys, the preferred first.
var keyKinds = [...]osconfig.HostKeyType{"ed25519", "ecdsa", "rsa"}

// usualKind is the host key that a machine makes for itself. Every client
// since OpenSSH 6.5 (2014) knows the kind; of the others, auditors doubt
// ECDSA's curves, and RSA takes seconds to make on a slow machine.
const usualKind = "ed25519"

// keyFile is where the private key of a kind is; the public one is in
// keyFile.pub.
func keyFile(dir string, kind osconfig.HostKeyType) string {
	return filepath.Join(dir, "ssh_host_"+string(kind)+"_key")
}

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
		key := hostKey{Kind: k.kind, Path: keyFile(configuredKeys, osconfig.HostKeyType(k.kind))}
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
	keys, err := c.ownKeys(layout.SSHKeyDir)
	return keys, errors.Join(append(errs, err)...)
}

// ownKeys makes those host keys of the machine's own that it has not.
func (c *console) ownKeys(dir string) ([]hostKey, error) {
	meta, _, err := osconfig.ReadMetadata(layout.Metadata)
	errs := []error{err, os.MkdirAll(dir, 0o700)}
	if err := keepInstance(dir, meta.InstanceID, c.cfg.SSHDeleteKeys); err != nil {
		errs = append(errs, fmt.Errorf("ssh_deletekeys: %w", err))
	}
	wanted := c.cfg.SSHGenKeyTypes
	if len(wanted) == 0 {
		wanted = []osconfig.HostKeyType{usualKind}
	}
	var keys []hostKey
	for _, kind := range keyKinds {
		if !slices.Contains(wanted, kind) {
			continue
		}
		path := keyFile(dir, kind)
		if err := ensureHostKey(path, kind); err != nil {
			errs = append(errs, fmt.Errorf("make host key %s: %w", kind, err))
			continue
		}
		keys = append(keys, hostKey{Kind: string(kind), Path: path})
	}
	return keys, errors.Join(errs...)
}

// keepInstance notes which instance the host keys in a directory are made for.
// With renew, those of another one go: they are in every copy of its disk.
func keepInstance(dir, instance string, renew bool) error {
	note := filepath.Join(dir, "instance-id")
	text, err := os.ReadFile(note)
	switch {
	case instance == "":
		return nil // nobody knows
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case !renew || strings.TrimSpace(string(text)) == instance:
		return nil
	default:
		for _, kind := range keyKinds {
			if err := os.Remove(keyFile(dir, kind)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return replaceFile(note, []byte(instance+"\n"), 0o600)
}

// ensureHostKey makes a host key unless it is there. The private key comes
// last: with it, all is there, whenever the power fails.
func ensureHostKey(path string, kind osconfig.HostKeyType) error {
	if info, err := os.Stat(path); err == nil && info.Size() > 0 {
		return nil
	}
	private, public, err := newHostKey(kind)
	if err != nil {
		return err
	}
	if err := replaceFile(path+".pub", public, 0o644); err != nil {
		return err
	}
	if err := replaceFile(path, private, 0o600); err != nil {
		return err
	}
	dir := filepath.Dir(path)
	return errors.Join(syncDir(dir), syncDir(filepath.Dir(dir))) // it may be new
}

func replaceFile(path string, text []byte, mode fs.FileMode) error {
	return renameio.WriteFile(path, text, mode, renameio.WithTempDir(filepath.Dir(path)))
}

// newHostKey makes a key, of the size that ssh-keygen takes.
func newHostKey(kind osconfig.HostKeyType) (private, public []byte, err error) {
	var key interface{ Public() crypto.PublicKey }
	switch kind {
	case "rsa":
		key, err = rsa.GenerateKey(rand.Reader, 3072)
	case "ecdsa":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	default:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		return nil, nil, err
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		return nil, nil, err
	}
	sshPub, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(block), ssh.MarshalAuthorizedKey(sshPub), nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
