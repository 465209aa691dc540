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

	"github.com/bulkhead-os/bulkhead/internal/service/accounts"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

const sshdConfig = "/etc/ssh/sshd_config"

// prepareSSH makes sshd's configuration and host keys.
func (c *console) prepareSSH(context.Context) error {
	keys, err := c.hostKeys()
	errs := []error{err}
	text, err := renderSSHD(sshdSettings{
		SSH: c.cfg.Rancher.SSH, Keys: keys, Passwords: accounts.PasswordLogin(c.cfg, c.accounts),
		Environment: c.cfg.Rancher.Network.ProxyEnvironment(),
	})
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	return errors.Join(append(errs, os.WriteFile(sshdConfig, []byte(text), 0o600))...)
}

// sshdSettings are what sshd_config depends on.
type sshdSettings struct {
	osconfig.SSH
	Keys      []hostKey
	Passwords bool
	// Environment has NAME=VALUE for each session.
	Environment []string
}

// Algorithms are the signatures that the host keys make.
func (s sshdSettings) Algorithms() string {
	var list []string
	for _, k := range s.Keys {
		list = append(list, k.algorithms()...)
	}
	return strings.Join(list, ",")
}

// Variables are the arguments of SetEnv.
func (s sshdSettings) Variables() string {
	var b strings.Builder
	for _, v := range s.Environment {
		if !strings.ContainsAny(v, "\"\n") {
			b.WriteString(` "` + v + `"`)
		}
	}
	return b.String()
}

//go:embed sshd_config.tmpl
var sshdTemplate string

// renderSSHD returns sshd_config.
func renderSSHD(s sshdSettings) (string, error) {
	tmpl, err := template.New("sshd_config").Parse(sshdTemplate)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = tmpl.Execute(&b, s)
	return b.String(), err
}

// ensureHostKey makes the host key of a machine that has none. The directory
// appears with both files whole and on disk, or not at all: a key that changes
// after a power cut would scare every client.
func ensureHostKey(dir string) error {
	if info, err := os.Stat(filepath.Join(dir, generatedKey)); err == nil && info.Size() > 0 {
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
		writeSynced(filepath.Join(temp, generatedKey), private, 0o600),
		writeSynced(filepath.Join(temp, generatedKey+".pub"), public, 0o644),
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
