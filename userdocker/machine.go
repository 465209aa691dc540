package userdocker

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/wait"
)

const (
	// configurationLimit is how long the engine waits for what of the machine's
	// configuration needs no network: where the proxy is, what the disks are.
	configurationLimit = 15 * time.Second
	// storageLimit is how long it waits for disks and mounts. Containers that
	// start by themselves would find empty directories in their place.
	storageLimit = 3 * time.Minute
)

// awaitConfiguration waits until the machine's disks are there, if it has any
// beside the state partition. It goes on without them in the end.
func awaitConfiguration(ctx context.Context, log *slog.Logger) {
	if err := wait.For(ctx, configurationLimit, wait.File(layout.CloudInitLocal), nil); err != nil {
		log.Warn("start without the machine's configuration", "err", err)
		return
	}
	if _, err := os.Stat(layout.StorageWanted); err != nil {
		return
	}
	if err := wait.For(ctx, storageLimit, wait.File(layout.StorageDone), nil); err != nil {
		log.Warn("start without the machine's disks", "err", err)
	}
}

// machineEnvironment returns what the machine's configuration adds to the
// daemon's environment: proxies, and whom to trust. root is "/" on the running
// system.
func machineEnvironment(root string) []string {
	var env []string
	if text, err := os.ReadFile(filepath.Join(root, layout.Proxies)); err == nil {
		for line := range strings.Lines(string(text)) {
			env = append(env, strings.TrimSuffix(line, "\n"))
		}
	}
	// Go's crypto/x509 takes all files of the directory in addition.
	env = append(env, "SSL_CERT_DIR="+layout.CertDir)
	if _, err := os.Stat(filepath.Join(root, layout.OnlyTrusted)); err == nil {
		env = append(env, "SSL_CERT_FILE="+layout.TrustedCerts)
	}
	return env
}
