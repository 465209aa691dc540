package console

import (
	"context"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-os/bulkhead/images/console/accounts"
	"github.com/bulkhead-os/bulkhead/internal/retry"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
	"github.com/bulkhead-os/bulkhead/os-config/cmdline"
)

// serialSpeeds are what agetty tries on a serial line; the first is what the
// kernel has set, unless the line is not a console.
const serialSpeeds = "115200,57600,38400,9600"

// autologin returns the terminals that need no password.
func autologin(cfg osconfig.Rancher) []string {
	if slices.Contains(cfg.Disable, "autologin") {
		return nil
	}
	return cfg.Autologin
}

// A terminal gets a login prompt.
type terminal struct {
	task
	tty string
}

// always are terminals with a login prompt wherever they exist: the first
// virtual one, and that of a hypervisor, which may be the only one.
var always = []string{"tty1", "hvc0"}

// gettys returns a login prompt for the terminals that always have one and for
// every other that a console= parameter or autologin names.
func gettys(kernelLine string, autologin []string) []terminal {
	ttys := slices.Clone(always)
	for _, value := range cmdline.Parse(kernelLine).All("console") {
		name, _, _ := strings.Cut(value, ",")
		ttys = append(ttys, name)
	}
	ttys = append(ttys, autologin...)

	var gettys []terminal
	for _, tty := range ttys {
		tty = strings.TrimPrefix(tty, "/dev/")
		if tty == "tty0" || tty == "tty" || tty == "null" {
			// The virtual terminal in front is tty1 already.
			continue
		}
		if !slices.ContainsFunc(gettys, func(g terminal) bool { return g.tty == tty }) {
			gettys = append(gettys, terminal{getty(tty, slices.Contains(autologin, tty)), tty})
		}
	}
	return gettys
}

// keepGetty keeps a login prompt running once its terminal is there: some come
// with a driver that udev loads, or are plugged in. One that can be of no use
// (a serial port of the kernel's that no hardware is behind) has none.
func (c *console) keepGetty(ctx context.Context, g terminal) {
	for !isTerminal("/dev/" + g.tty) {
		if retry.Sleep(ctx, lookForTTY) != nil {
			return
		}
	}
	c.keep(ctx, g.task)
}

// lookForTTY is how often a terminal is looked for that is not there.
const lookForTTY = 10 * time.Second

// isTerminal reports whether a file is a terminal with something behind it:
// ports without answer with EIO.
func isTerminal(path string) bool {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	_, err = unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

func getty(tty string, autologin bool) task {
	argv := []string{"/usr/sbin/agetty"}
	if autologin {
		argv = append(argv, "--autologin", accounts.Default)
	}
	if isVirtual(tty) {
		// The boot's last lines stay on the screen.
		argv = append(argv, "--noclear", tty, "linux")
	} else {
		argv = append(argv, "--keep-baud", tty, serialSpeeds, "vt220")
	}
	return task{name: "getty on " + tty, argv: argv}
}

// isVirtual tells tty1 from ttyS0, hvc0 and the like.
func isVirtual(tty string) bool {
	number, ok := strings.CutPrefix(tty, "tty")
	return ok && strings.Trim(number, "0123456789") == ""
}
