package console

import (
	"os"
	"slices"
	"strings"

	"github.com/bulkhead-os/bulkhead/images/console/accounts"
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

// gettys returns a login prompt for the first virtual terminal and for every
// other terminal that a console= parameter or autologin names. exists tells
// which terminals there are.
func gettys(kernelLine string, autologin []string, exists func(string) bool) []task {
	ttys := []string{"tty1"}
	for _, value := range cmdline.Parse(kernelLine).All("console") {
		name, _, _ := strings.Cut(value, ",")
		ttys = append(ttys, name)
	}
	ttys = append(ttys, autologin...)

	var tasks []task
	var done []string
	for _, tty := range ttys {
		tty = strings.TrimPrefix(tty, "/dev/")
		if tty == "tty0" || tty == "tty" || tty == "null" {
			// The virtual terminal in front is tty1 already.
			continue
		}
		if slices.Contains(done, tty) || !exists(tty) {
			continue
		}
		done = append(done, tty)
		tasks = append(tasks, getty(tty, slices.Contains(autologin, tty)))
	}
	return tasks
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

func ttyExists(tty string) bool {
	info, err := os.Stat("/dev/" + tty)
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
