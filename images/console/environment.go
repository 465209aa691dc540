package console

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/bulkhead-os/bulkhead/internal/layout"
)

const profileProxy = "/etc/profile.d/proxy.sh"

// writeEnvironment gives login shells the proxies; sshd_config gives them to
// commands over SSH, and the service's own environment to start commands.
func (c *console) writeEnvironment(context.Context) error {
	vars := c.cfg.Rancher.Network.ProxyEnvironment()
	if len(vars) == 0 {
		if err := os.Remove(profileProxy); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	var script strings.Builder
	for _, v := range vars {
		name, value, _ := strings.Cut(v, "=")
		fmt.Fprintf(&script, "export %s='%s'\n", name, strings.ReplaceAll(value, "'", `'\''`))
	}
	return os.WriteFile(profileProxy, []byte(script.String()), 0o644)
}

const (
	// bundle is what programs of the console trust, plainBundle the image's
	// own copy of it.
	bundle      = "/etc/ssl/certs/ca-certificates.crt"
	plainBundle = "/etc/ssl/image-certificates.crt"
)

// trustCertificates makes the programs of the console trust the certificate
// authorities of the configuration, in addition to the usual ones or instead.
func (c *console) trustCertificates(context.Context) error {
	own, err := os.ReadFile(layout.TrustedCerts)
	if errors.Is(err, fs.ErrNotExist) {
		own, err = nil, nil
	}
	if err != nil {
		return err
	}
	only := exists(layout.OnlyTrusted)
	if len(own) == 0 && !only && !exists(plainBundle) {
		return nil
	}
	if !exists(plainBundle) {
		if err := os.Rename(bundle, plainBundle); err != nil {
			return err
		}
	}
	var text []byte
	if !only {
		if text, err = os.ReadFile(plainBundle); err != nil {
			return err
		}
	}
	return os.WriteFile(bundle, append(text, own...), 0o644)
}
