package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/renameio/v2"

	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/uevent"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

// setSysctls sets all it can and returns the names of those that the kernel
// does not have, yet or at all.
func setSysctls(settings osconfig.Sysctls) (missing []string, err error) {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		err := os.WriteFile(sysctlPath(name), []byte(settings[name]), 0)
		if errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, name)
			continue
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("set sysctl %s: %w", name, err))
		}
	}
	return missing, errors.Join(errs...)
}

// wantedSysctls is what the file layout.Sysctls has: what followSysctls sets on
// what comes. It is a file because ros config apply is another process.
type wantedSysctls struct {
	Settings osconfig.Sysctls
	// Missing are those that have not been set at all.
	Missing []string
}

func keepSysctls(settings osconfig.Sysctls, missing []string) error {
	raw, err := json.Marshal(wantedSysctls{settings, missing})
	if err != nil {
		return err
	}
	return renameio.WriteFile(layout.Sysctls, raw, 0o600)
}

func readWantedSysctls() (w wantedSysctls, err error) {
	raw, err := os.ReadFile(layout.Sysctls)
	if err == nil {
		err = json.Unmarshal(raw, &w)
	}
	return w, err
}

const (
	// settleTime is what the kernel takes at most from the message that a link
	// is there to its settings.
	settleTime = 2 * time.Second
	// missingLimit is how long a boot's settings may wait for what brings them
	// before this is reported.
	missingLimit = 90 * time.Second
)

// followSysctls sets the settings of links and modules that come later, as udev
// does on other systems, until ctx ends.
func (c *console) followSysctls(ctx context.Context) {
	events, err := uevent.Open()
	if err != nil {
		c.log.Error("settings of links that come later are not made", "err", err)
		return
	}
	defer context.AfterFunc(ctx, func() { events.Close() })()
	for {
		e, err := uevent.Read(events)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			c.log.Warn("events of the kernel", "err", err) // too many at once: the next one may say enough
			time.Sleep(time.Second)
		case e.Action == "add" && (e.Subsystem == "net" || e.Subsystem == "module"), e.Action == "move" && e.Subsystem == "net":
			c.setLater(ctx, e)
		}
	}
}

// setLater sets what an event may have brought.
func (c *console) setLater(ctx context.Context, e uevent.Event) {
	w, err := readWantedSysctls()
	if err != nil || len(w.Settings) == 0 {
		return // none are wanted
	}
	due := make(osconfig.Sysctls)
	for name, value := range w.Settings {
		if slices.Contains(w.Missing, name) || e.Subsystem == "net" && ofLink(name, e.Name) {
			due[name] = value
		}
	}
	if len(due) == 0 {
		return
	}
	var missing []string
	for began := time.Now(); ; {
		missing, err = setSysctls(due)
		if len(missing) == 0 || time.Since(began) > settleTime || ctx.Err() != nil {
			break
		}
		time.Sleep(settleTime / 20)
	}
	if err != nil {
		c.log.Warn("settings", "of", e.Name, "err", err)
	}
	w.Missing = slices.DeleteFunc(w.Missing, func(name string) bool { return !slices.Contains(missing, name) })
	if err := keepSysctls(w.Settings, w.Missing); err != nil {
		c.log.Warn("settings", "err", err)
	}
}

// ofLink reports whether a sysctl is one of a network interface.
func ofLink(name, link string) bool {
	dir := filepath.Dir(sysctlPath(name))
	return filepath.Base(dir) == link && strings.HasPrefix(dir, "/proc/sys/net/")
}

// tellMissing says which settings of the boot nothing has brought.
func (c *console) tellMissing(ctx context.Context) error {
	began := time.Now()
	for {
		w, err := readWantedSysctls()
		if err != nil || len(w.Missing) == 0 {
			return err
		}
		if time.Since(began) > missingLimit {
			return fmt.Errorf("the kernel has no sysctl %s so far; it is set when a link or a module brings it", strings.Join(w.Missing, ", "))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}
