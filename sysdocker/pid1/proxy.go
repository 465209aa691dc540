package pid1

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/milestone"
	"github.com/bulkhead-os/bulkhead/internal/wait"
)

// startProxies begins to wait for the proxies of the configuration.
func (s *system) startProxies(ctx context.Context) error {
	s.guard("proxies", func() {
		err := wait.For(ctx, milestone.ConfigurationLimit, milestone.CloudInitDone, nil)
		if err == nil {
			err = useProxies(layout.Proxies)
		}
		if err != nil {
			s.log.Warn("images are pulled without the configuration's proxies", "err", err)
		}
	})
	return nil
}

// useProxies makes the daemon go through the proxies in a file of NAME=VALUE
// lines. The daemon asks the environment when it first pulls an image, which it
// does for nobody before the configuration has been read.
func useProxies(path string) error {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimRight(line, "\n"), "=")
		errs = append(errs, os.Setenv(name, value))
	}
	return errors.Join(errs...)
}
