package userdocker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/google/renameio/v2"
	"github.com/moby/moby/api/types/container"

	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/milestone"
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
	// networkLimit is how long containers that start with the daemon wait for the
	// network. The network service says that it is ready within
	// rancher.network.dhcp_timeout of its start, address or not.
	networkLimit = time.Minute
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
		if err := awaitOthers(ctx, configurationLimit, milestone.CloudInitLocal); err != nil {
			log.Warn("start without this boot's configuration", "err", err)
		}
		if err := awaitOthers(ctx, storageLimit, milestone.StorageDone); err != nil {
			log.Warn("start without the machine's disks", "err", err)
		}
	}
	return milestone.StorageDone.Reached()
}

// awaitNetwork waits for the machine's network if there are containers that start
// with the daemon. What they get from it they get when they start, once: name
// servers, and the addresses that their ports are published on.
func awaitNetwork(ctx context.Context, log *slog.Logger, dataRoot string) {
	if milestone.NetworkReady.Reached() || !startsContainers(dataRoot) {
		return
	}
	began := time.Now()
	err := awaitOthers(ctx, networkLimit, milestone.NetworkReady)
	if err != nil {
		log.Warn("containers start without the machine's network", "err", err)
		return
	}
	log.Info("containers start with the machine's network", "waited", time.Since(began).Round(time.Millisecond))
}

// startsContainers tells whether a daemon with this data starts containers by
// itself: those with a restart policy, and those of a swarm.
func startsContainers(dataRoot string) bool {
	if exists(filepath.Join(dataRoot, "swarm", "docker-state.json")) {
		return true
	}
	configs, _ := filepath.Glob(filepath.Join(dataRoot, "containers", "*", "hostconfig.json"))
	return slices.ContainsFunc(configs, func(path string) bool {
		var c container.HostConfig
		raw, err := os.ReadFile(path)
		return err == nil && json.Unmarshal(raw, &c) == nil && !c.RestartPolicy.IsNone()
	})
}

// awaitOthers waits for a milestone of another service, and lets nobody be held
// back for this one meanwhile.
func awaitOthers(ctx context.Context, limit time.Duration, m milestone.Milestone) error {
	if m.Reached() {
		return nil
	}
	_ = milestone.UserWaiting.Set("") // without it they are held back until the head start ends
	defer milestone.UserWaiting.Clear()
	return wait.For(ctx, limit, m, nil)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// readWish reads the machine's configuration and puts the files for TLS where
// the daemon finds them. With an error the wish is what could be read. Of
// rancher.docker it is for the first engine only.
func readWish(first bool) (Wish, error) {
	cfg, _, err := osconfig.LoadRunning()
	if !first {
		return Wish{Env: append(cfg.Rancher.Network.ProxyEnvironment(), trust("/")...)}, err
	}
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

// lookForRequests starts the daemon anew if that is asked for and makes a
// difference: the machine's configuration may become complete, or somebody may
// write the daemon's file for it, when the daemon runs already. The error is
// one that only a new start of the engine can cure.
func (e *engine) lookForRequests() error {
	if os.Rename(string(milestone.UserReload), string(milestone.UserReloading)) == nil {
		e.asked = true
	}
	if !e.complete && milestone.CloudInitDone.Reached() {
		e.complete, e.asked = true, true
	}
	e.asked = e.asked || e.corrected()
	if !e.asked {
		return nil
	}
	err := e.renew()
	if errors.Is(err, os.ErrProcessDone) {
		return nil // between two runs: whether the next one has the new settings is seen then
	}
	e.asked = false
	if errors.Is(err, errDataRoot) {
		return err
	}
	if err != nil {
		e.log.Error("start dockerd anew", "err", err)
	}
	return nil
}

// renew starts the daemon anew if it runs with other settings than it should.
// The next run reads them by itself.
func (e *engine) renew() error {
	s, err := e.readSettings()
	if err != nil {
		return err
	}
	now := e.current()
	if s.same(now) {
		e.use(s)
		return nil
	}
	if s.DataRoot() != now.DataRoot() {
		return errDataRoot
	}
	e.setRenewing(true)
	if err := e.dockerd.signal(syscall.SIGTERM); err != nil {
		e.setRenewing(false)
		return err
	}
	e.log.Info("the settings have changed; dockerd starts anew")
	return nil
}

func (e *engine) setRenewing(on bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.renewing = on
}

// runsAsAsked reports whether the daemon answers with the settings that were
// last asked for.
func (e *engine) runsAsAsked() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.answered && !e.renewing && !e.asked
}

// hasAll reports whether nothing more comes during this boot that the engine
// would have to start anew for.
func (e *engine) hasAll() bool {
	// In this order: what the boot asks for comes before its StorageDone.
	return e.complete && milestone.StorageDone.Reached() && !milestone.UserReload.Reached() && !e.disksCame()
}

// disksCame reports whether the machine's disks came when the engine ran
// already: on the first boot with them.
func (e *engine) disksCame() bool {
	return !e.disks && milestone.StorageWanted.Reached() && milestone.StorageDone.Reached()
}
