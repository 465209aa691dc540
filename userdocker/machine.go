package userdocker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"

	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/wait"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

// configLimit bounds the wait for the machine's configuration, which may still
// be on its way from a disk or the network.
const configLimit = 15 * time.Second

func awaitConfig(ctx context.Context, log *slog.Logger) {
	err := wait.For(ctx, configLimit, wait.File(layout.CloudInitDone), func(waited time.Duration, _ error) {
		log.Info("waiting", "for", "the machine's configuration", "since", waited.Round(time.Second))
	})
	if err != nil && ctx.Err() == nil {
		log.Warn("configuration comes too late for this start", "err", err)
	}
}

// readWish reads the machine's configuration and puts the files for TLS where
// the daemon finds them. With an error the wish is what could be read.
func readWish() (Wish, error) {
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return Wish{}, err
	}
	cfg, _, err := osconfig.Load("", string(line))
	w := wishOf(cfg, func(name string) bool {
		_, err := os.Stat(filepath.Join(tlsDir, name))
		return err == nil
	})
	errs := []error{err}
	for name, text := range w.Files {
		if err := renameio.WriteFile(filepath.Join(tlsDir, name), []byte(text), 0o600); err != nil {
			errs = append(errs, fmt.Errorf("rancher.docker.tls: %w", err))
		}
	}
	return w, errors.Join(errs...)
}
