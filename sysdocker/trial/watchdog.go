package trial

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-os/bulkhead/internal/tool"
)

// A watchdog resets a machine that hangs. That of a machine without one is nil.
type watchdog struct{ device *os.File }

// watchdogSeconds is how long the machine may hang.
const watchdogSeconds = 120

// openWatchdog starts the machine's watchdog, or the kernel's.
func openWatchdog(ctx context.Context) (*watchdog, error) {
	const path = "/dev/watchdog"
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		if err := tool.Run(ctx, "", "/usr/sbin/modprobe", "softdog"); err != nil {
			return nil, err
		}
		f, err = os.OpenFile(path, os.O_WRONLY, 0)
	}
	if err != nil {
		return nil, err
	}
	if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.WDIOC_SETTIMEOUT, watchdogSeconds); err != nil {
		return nil, errors.Join(err, (&watchdog{f}).stop())
	}
	return &watchdog{f}, nil
}

// feed says that the machine does not hang.
func (w *watchdog) feed() error {
	if w == nil {
		return nil
	}
	_, err := w.device.Write([]byte{0})
	return err
}

// stop ends it. Closed without this byte it goes on.
func (w *watchdog) stop() error {
	if w == nil {
		return nil
	}
	_, err := w.device.Write([]byte("V"))
	return errors.Join(err, w.device.Close())
}
