package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/once"
	"github.com/bulkhead-os/bulkhead/internal/wait"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
	"github.com/bulkhead-os/bulkhead/sysdocker/plan"
)

// wishes are what the configuration wants of the OS services.
type wishes struct {
	// files are by service.
	files map[string]plan.Files
	// restart are services to start anew once.
	restart []string
}

// storedWishes are those of the configuration that earlier boots have stored;
// with them, a service need not be made anew when all of it has been read.
// What is wrong with them is told then.
func storedWishes(services []plan.Service, log *slog.Logger) wishes {
	w, err := readWishes(services)
	if err != nil {
		log.Info("stored configuration", "error", err)
	}
	w.restart = nil
	return w
}

func readWishes(services []plan.Service) (wishes, error) {
	cfg, _, err := osconfig.LoadRunning()
	placed, placeErr := placeFiles(cfg.WriteFiles, services)
	files, writeErr := writeServiceFiles(placed)
	w := wishes{files: files}
	errs := []error{err, placeErr, writeErr}
	for _, name := range cfg.Rancher.RestartServices {
		if !slices.ContainsFunc(services, func(s plan.Service) bool { return s.Name == name }) {
			errs = append(errs, fmt.Errorf("rancher.restart_services: there is no service %s", name))
			continue
		}
		w.restart = append(w.restart, name)
	}
	return w, errors.Join(errs...)
}

// configuredLimit is how long a configuration may take to be read. Its sources
// on the network have at most minutes, and people may give them some more.
const configuredLimit = 30 * time.Minute

// awaitWishes sends the wishes of the whole configuration once it has been read.
func awaitWishes(ctx context.Context, services []plan.Service, log *slog.Logger, to chan<- wishes) {
	if err := wait.For(ctx, configuredLimit, wait.File(layout.CloudInitDone), nil); err != nil {
		log.Warn("services run as the stored configuration says", "error", err)
		return
	}
	w, err := readWishes(services)
	if err != nil {
		tellProblems(log, err)
	}
	if len(w.restart) > 0 {
		first, err := once.Claim(layout.ServicesRestarted)
		if !first { // This is not the boot's first orchestrator.
			w.restart = nil
		}
		if err != nil {
			log.Warn("services are not restarted", "error", err)
		}
	}
	select {
	case to <- w:
	case <-ctx.Done():
	}
}

// tellProblems tells what is wrong with wishes as cloud-init tells mistakes.
func tellProblems(log *slog.Logger, problems error) {
	var text strings.Builder
	for line := range strings.Lines(problems.Error()) {
		line = "services: " + strings.TrimSpace(line)
		log.Warn("configuration", "problem", line)
		announce(log, "bulkhead: configuration: "+line)
		text.WriteString(line + "\n")
	}
	f, err := os.OpenFile(layout.ConfigProblems, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err == nil {
		_, err = f.WriteString(text.String())
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		log.Warn("problems are not told at login", "error", err)
	}
}
