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
	// configurationLimit is how long the engine waits for the configuration that
	// needs no network.
	configurationLimit = 15 * time.Second
	// storageLimit is how long it waits for disks and mounts. Without them,
	// containers that start with the daemon would see empty directories.
	storageLimit = 3 * time.Minute
	// networkLimit is how long containers that start with the daemon wait for the
	// network. The network service is ready within rancher.network.dhcp_timeout of
	// its start, with or without an address.
	networkLimit = time.Minute
)

// awaitDisks waits for the machine's disks, if the stored configuration has any.
// It reports whether they are there.
//
// A machine without disks waits for nothing. If its first boot brings
// configuration, the daemon restarts (renew), or the engine does (check).
func awaitDisks(ctx context.Context, log *slog.Logger) bool {
	cfg, _, err := osconfig.LoadRunning()
	if err != nil {
		log.Warn("some of the configuration cannot be read", "err", err)
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
// with the daemon. They get name servers, and the addresses of their ports, once:
// when they start.
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

// startsContainers reports whether a daemon with this data starts containers by
// itself: those with a restart policy, and those of a swarm.
func startsContainers(dataRoot string) bool {
	if inSwarm(dataRoot) {
		return true
	}
	configs, _ := filepath.Glob(filepath.Join(dataRoot, "containers", "*", "hostconfig.json"))
	return slices.ContainsFunc(configs, func(path string) bool {
		var c container.HostConfig
		raw, err := os.ReadFile(path)
		return err == nil && json.Unmarshal(raw, &c) == nil && !c.RestartPolicy.IsNone()
	})
}

// awaitOthers waits for a milestone of another service. UserWaiting says meanwhile
// that no other service has to wait for this one.
func awaitOthers(ctx context.Context, limit time.Duration, m milestone.Milestone) error {
	if m.Reached() {
		return nil
	}
	_ = milestone.UserWaiting.Set("") // without it they wait until the head start ends
	defer milestone.UserWaiting.Clear()
	return wait.For(ctx, limit, m, nil)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// readWish reads the machine's configuration and writes the files for TLS. With an
// error, the wish is what could be read. rancher.docker is for the first engine
// only.
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

// trust returns the environment by which Go's crypto/x509 finds the certificate
// authorities to trust. root is "/" on the running system.
func trust(root string) []string {
	// All files of the directory are added.
	env := []string{"SSL_CERT_DIR=" + layout.CertDir}
	if exists(filepath.Join(root, layout.OnlyTrusted)) {
		env = append(env, "SSL_CERT_FILE="+layout.TrustedCerts)
	}
	return env
}

// lookForRequests restarts the daemon if a restart is requested and its settings
// have changed: the daemon may already run when the configuration becomes
// complete, or when somebody writes its file. With an error the engine has to
// restart.
func (e *engine) lookForRequests() error {
	if os.Rename(string(milestone.UserReload), string(milestone.UserReloading)) == nil {
		e.asked = true
	}
	if !e.complete && milestone.CloudInitDone.Reached() {
		e.complete, e.asked = true, true
	}
	e.asked = e.asked || e.corrected() || e.followSwarm()
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
		e.log.Error("cannot restart dockerd with new settings", "err", err)
	}
	return nil
}

// renew ends the daemon's run if its settings have changed. The next run reads
// them.
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
	e.log.Info("the settings have changed; dockerd restarts")
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

// hasAll reports whether nothing is left in this boot that could make the daemon
// or the engine restart.
func (e *engine) hasAll() bool {
	// In this order: the boot sets UserReload before StorageDone.
	return e.complete && milestone.StorageDone.Reached() && !milestone.UserReload.Reached() && !e.disksCame()
}

// disksCame reports whether the machine's disks appeared after the engine had
// started, as on the first boot with them.
func (e *engine) disksCame() bool {
	return !e.disks && milestone.StorageWanted.Reached() && milestone.StorageDone.Reached()
}
