package console

import (
	"context"
	_ "embed"
	"errors"
	"os"
	"strings"
	"text/template"

	"github.com/bulkhead-os/bulkhead/images/console/accounts"
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
