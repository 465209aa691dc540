// Package upkeep does what a machine needs from time to time, once it has booted
// and so holds up nothing: free space, the last known time, and file systems of
// the kernel that hardly anything uses at boot.
package upkeep

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/tool"
)

const (
	// lookAfter is how often the machine is looked after.
	lookAfter = time.Hour
	// trimAfter is how often file systems give the space that is free back to
	// their disks: as often as fstrim.timer(8).
	trimAfter = 7 * 24 * time.Hour
	// trimLimit bounds one time of it; slow disks take minutes.
	trimLimit = time.Hour
)

// upkeep is what has to be done for a machine from time to time, once it has
// booted and so holds up nothing.
type upkeep struct {
	log *slog.Logger
	// lastTime and lastTrim are files that say by their time when they were
	// written.
	lastTime, lastTrim string
	now                func() time.Time
	trim               func(context.Context) error
}

// Run keeps the machine up until the end of ctx.
func Run(ctx context.Context, log *slog.Logger) {
	upkeep{log: log, lastTime: layout.LastTime, lastTrim: layout.LastTrim, now: time.Now, trim: trimAll}.run(ctx)
}

func (u upkeep) run(ctx context.Context) {
	if err := mountLate(ctx); err != nil {
		u.log.Warn("kernel's file systems", "err", err)
	}
	ticks := time.NewTicker(lookAfter)
	defer ticks.Stop()
	for {
		u.look(ctx)
		select {
		case <-ctx.Done():
			// The next boot may find a clock without a battery.
			u.note(u.lastTime)
			return
		case <-ticks.C:
		}
	}
}

// look does what is due.
func (u upkeep) look(ctx context.Context) {
	u.note(u.lastTime)
	info, err := os.Stat(u.lastTrim)
	if errors.Is(err, fs.ErrNotExist) {
		u.note(u.lastTrim) // a new file system has nothing to give back
		return
	}
	if err != nil || u.now().Sub(info.ModTime()) < trimAfter {
		return
	}
	began := u.now()
	err = u.trim(ctx)
	u.log.Info("free space is given back to the disks", "took", u.now().Sub(began).Round(time.Millisecond), "err", err)
	u.note(u.lastTrim)
}

// note writes a file for its time. It has to reach the disk some time, and is
// not worth a write of its own.
func (u upkeep) note(path string) {
	now := u.now()
	err := os.WriteFile(path, []byte(now.UTC().Format(time.RFC3339)+"\n"), 0o644)
	if err == nil {
		err = os.Chtimes(path, now, now)
	}
	if err != nil {
		u.log.Warn("time is not noted", "err", err)
	}
}

// trimAll is for all file systems that can do it, disks of the configuration
// included.
func trimAll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, trimLimit)
	defer cancel()
	return tool.Run(ctx, "", "/usr/sbin/fstrim", "--all", "--quiet-unsupported")
}

// lateMounts are file systems of the kernel whose mount points modules bring.
// They are mounted everywhere else, and hardly ever used at boot.
var lateMounts = []struct{ module, fstype, target string }{
	{"configfs", "configfs", "/sys/kernel/config"},
	{"fuse", "fusectl", "/sys/fs/fuse/connections"},
}

func mountLate(ctx context.Context) error {
	var errs []error
	for _, m := range lateMounts {
		if err := tool.Run(ctx, "", "/usr/sbin/modprobe", "--quiet", m.module); err != nil {
			errs = append(errs, err)
			continue
		}
		err := unix.Mount(m.fstype, m.target, m.fstype, unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
		if err != nil && !errors.Is(err, unix.EBUSY) { // an orchestrator before this one has done it
			errs = append(errs, fmt.Errorf("mount %s: %w", m.target, err))
		}
	}
	return errors.Join(errs...)
}
