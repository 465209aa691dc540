package console

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	_ "embed"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"golang.org/x/crypto/ssh"

	"github.com/bulkhead-os/bulkhead/internal/layout"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

const sshdConfig = "/etc/ssh/sshd_config"

// hostKey is the machine's only host key. Every client since OpenSSH 6.5
// (2014) knows the kind; of the others, auditors doubt ECDSA's curves, and RSA
// takes seconds to make on a slow machine.
const hostKey = "ssh_host_ed25519_key"

// prepareSSH makes sshd's configuration and host key.
func (c *console) prepareSSH(context.Context) error {
	text, err := renderSSHD(c.cfg.Rancher)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(sshdConfig, []byte(text), 0o600),
		ensureHostKey(layout.SSHKeyDir),
	)
}

//go:embed sshd_config.tmpl
var sshdTemplate string

// renderSSHD returns sshd_config.
func renderSSHD(cfg osconfig.Rancher) (string, error) {
	tmpl, err := template.New("sshd_config").Parse(sshdTemplate)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = tmpl.Execute(&b, map[string]any{
		"Port":          cfg.SSH.Port,
		"ListenAddress": cfg.SSH.ListenAddress,
		"HostKey":       filepath.Join(layout.SSHKeyDir, hostKey),
		"Password":      cfg.Password.Reveal() != "",
	})
	return b.String(), err
}

// ensureHostKey makes the host key of a machine that has none. The directory
// appears with both files whole and on disk, or not at all: a key that changes
// after a power cut would scare every client.
func ensureHostKey(dir string) error {
	if info, err := os.Stat(filepath.Join(dir, hostKey)); err == nil && info.Size() > 0 {
		return nil
	}
	temp := dir + ".new"
	if err := os.RemoveAll(temp); err != nil {
		return err
	}
	if err := os.MkdirAll(temp, 0o700); err != nil {
		return err
	}
	private, public, err := newHostKey()
	if err != nil {
		return fmt.Errorf("make host key: %w", err)
	}
	if err := errors.Join(
		writeSynced(filepath.Join(temp, hostKey), private, 0o600),
		writeSynced(filepath.Join(temp, hostKey+".pub"), public, 0o644),
		syncDir(temp),
	); err != nil {
		return fmt.Errorf("make host key: %w", err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.Rename(temp, dir); err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

func newHostKey() (private, public []byte, err error) {
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	block, err := ssh.MarshalPrivateKey(priv, "")
	if err != nil {
		return nil, nil, err
	}
	sshPub, err := ssh.NewPublicKey(pub)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(block), ssh.MarshalAuthorizedKey(sshPub), nil
}

func writeSynced(path string, data []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
