package userdocker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"syscall"
	"time"

	"github.com/google/renameio/v2"

	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/wait"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

const (
	// configurationLimit is how long the engine waits for what of the machine's
	// configuration needs no network.
	configurationLimit = 15 * time.Second
	// storageLimit is how long it waits for disks and mounts. Containers that
	// start by themselves would find empty directories in their place.
	storageLimit = 3 * time.Minute
)

// awaitDisks waits until the machine's disks are there, if the configuration
// as earlier boots have stored it has any, and reports whether they are. It goes
// on without them in the end.
//
// A machine without disks waits for nothing: what its first boot brings of
// configuration is taken over by a new start of the daemon (renew), or of the
// engine (check).
func awaitDisks(ctx context.Context, log *slog.Logger) bool {
	cfg, _, err := osconfig.LoadRunning()
	if err != nil {
		log.Warn("configuration is read in part", "err", err)
	}
	if cfg.HasDisks() {
		if err := wait.For(ctx, configurationLimit, wait.File(layout.CloudInitLocal), nil); err != nil {
			log.Warn("start without this boot's configuration", "err", err)
		}
		if err := wait.For(ctx, storageLimit, wait.File(layout.StorageDone), nil); err != nil {
			log.Warn("start without the machine's disks", "err", err)
		}
	}
	return exists(layout.StorageDone)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// readWish reads the machine's configuration and puts the files for TLS where
// the daemon finds them. With an error the wish is what could be read.
func readWish() (Wish, error) {
	cfg, _, err := osconfig.LoadRunning()
	w := wishOf(cfg, func(name string) bool { return exists(filepath.Join(tlsDir, name)) })
	w.Env = append(w.Env, trust("/")...)
	errs := []error{err}
	for name, text := range w.Files {
		if err := renameio.WriteFile(filepath.Join(tlsDir, name), []byte(text), 0o600); err != nil {
			errs = append(errs, fmt.Errorf("rancher.docker.tls: %w", err))
		}
	}
	return w, errors.Join(errs...)
}

// trust returns the environment that tells Go's crypto/x509 whom to trust.
// root is "/" on the running system.
func trust(root string) []string {
	// All files of the directory count in addition.
	env := []string{"SSL_CERT_DIR=" + layout.CertDir}
	if exists(filepath.Join(root, layout.OnlyTrusted)) {
		env = append(env, "SSL_CERT_FILE="+layout.TrustedCerts)
	}
	return env
}

// askedToRenew reports whether the machine's configuration has become complete
// since the last call, or somebody wrote the daemon's file for it.
func (e *engine) askedToRenew() bool {
	asked := os.Remove(layout.UserReload) == nil
	if !e.complete && exists(layout.CloudInitDone) {
		e.complete = true
		asked = true
	}
	return asked
}

// renew starts the daemon anew if it runs with other settings than it should:
// the machine's configuration may come when the daemon runs already.
func (e *engine) renew() error {
	before, env := e.current(), e.environment()
	s, err := e.readSettings()
	if err != nil {
		return err
	}
	if reflect.DeepEqual(s.values, before.values) && reflect.DeepEqual(e.environment(), env) {
		return nil
	}
	e.log.Info("the settings have changed; dockerd starts anew")
	e.use(s)
	e.mu.Lock()
	e.renewing = true
	e.mu.Unlock()
	return e.dockerd.signal(syscall.SIGTERM)
}

// disksCame reports whether the machine's disks came when the engine ran
// already: on the first boot with them.
func (e *engine) disksCame() bool {
	return !e.disks && exists(layout.StorageWanted) && exists(layout.StorageDone)
}
