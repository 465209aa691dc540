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
	// or a module is there to its settings, and settleLook how often they are
	// looked for meanwhile.
	settleTime = 2 * time.Second
	settleLook = settleTime / 20
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
	came := make(chan string)
	go func() {
		defer close(came)
		readArrivals(ctx, events, came)
	}()
	defer events.Close()
	var links []string // that came and lack settings yet
	var until time.Time
	for {
		var again <-chan time.Time
		if time.Now().Before(until) {
			again = time.After(settleLook)
		} else {
			links = nil
		}
		select {
		case <-ctx.Done():
			return
		case link, ok := <-came:
			if !ok {
				return
			}
			if link != "" {
				links = append(links, link)
			}
			until = time.Now().Add(settleTime)
		case <-again:
		}
		if links, err = setLater(links); err != nil {
			c.log.Warn("settings of what came", "err", err)
		}
	}
}

// readArrivals sends the names of links that come, and "" for a module.
func readArrivals(ctx context.Context, events *os.File, came chan<- string) {
	for ctx.Err() == nil {
		e, err := uevent.Read(events)
		name := ""
		switch {
		case errors.Is(err, os.ErrClosed):
			return
		case err != nil: // too many at once: the settings of all are looked at
		case e.Subsystem == "net" && (e.Action == "add" || e.Action == "move"):
			name = e.Name
		case e.Subsystem != "module" || e.Action != "add":
			continue
		}
		select {
		case came <- name:
		case <-ctx.Done():
		}
	}
}

// setLater sets what has been missing and the settings of links, and returns the
// links that have not all of theirs yet.
func setLater(links []string) ([]string, error) {
	w, err := readWantedSysctls()
	if err != nil || len(w.Settings) == 0 {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil // none are wanted
		}
		return nil, err
	}
	due := make(osconfig.Sysctls)
	for name, value := range w.Settings {
		if slices.Contains(w.Missing, name) || slices.ContainsFunc(links, func(link string) bool { return ofLink(name, link) }) {
			due[name] = value
		}
	}
	if len(due) == 0 {
		return nil, nil
	}
	missing, err := setSysctls(due)
	still := slices.DeleteFunc(slices.Clone(w.Missing), func(name string) bool { return !slices.Contains(missing, name) })
	if len(still) != len(w.Missing) {
		err = errors.Join(err, keepSysctls(w.Settings, still))
	}
	return slices.DeleteFunc(links, func(link string) bool {
		return !slices.ContainsFunc(missing, func(name string) bool { return ofLink(name, link) })
	}), err
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
