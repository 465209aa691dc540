package poweroff

import (
	"errors"
	"fmt"
	"strings"

	"github.com/bulkhead-os/bulkhead/internal/power"
)

// A request is what a command line asks for.
type request struct {
	action power.Action
	force  bool
	help   bool
}

// errNoSchedule explains what shutdown cannot do, to those who ask for it.
var errNoSchedule = errors.New("delayed shutdowns are not supported; use: sleep SECONDS && poweroff")

// parse reads the command line of halt, poweroff, reboot or shutdown; args[0]
// is the command's name.
func parse(args []string) (request, error) {
	if len(args) == 0 {
		return request{}, errors.New("no command name")
	}
	if args[0] == "shutdown" {
		return parseShutdown(args[1:])
	}
	req := request{action: power.Action(args[0])}
	for _, arg := range args[1:] {
		switch arg {
		case "--help", "-h":
			req.help = true
		case "--force", "-f":
			req.force = true
		case "--halt":
			req.action = power.Halt
		case "--poweroff", "-p":
			req.action = power.PowerOff
		case "--reboot":
			req.action = power.Reboot
		default:
			return request{}, fmt.Errorf("unknown argument %q", arg)
		}
	}
	return req, nil
}

// parseShutdown differs from the others: -h is --poweroff, -H is --halt, there
// is a time with a message behind it, and short options may be joined ("-hP").
func parseShutdown(args []string) (request, error) {
	req := request{action: power.PowerOff}
	for i, arg := range args {
		switch arg {
		case "--help":
			req.help = true
		case "--halt":
			req.action = power.Halt
		case "--poweroff":
			req.action = power.PowerOff
		case "--reboot":
			req.action = power.Reboot
		case "--force":
			req.force = true
		case "now", "+0":
			// Hypervisors' agents give a message. Nobody is there to read it:
			// sessions end with the console.
			if rest := args[i+1:]; len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
				return req, nil
			}
		default:
			if !strings.HasPrefix(arg, "-") {
				return request{}, shutdownOperand(arg)
			}
			for _, c := range strings.TrimPrefix(arg, "-") {
				switch c {
				case 'h', 'P':
					req.action = power.PowerOff
				case 'H':
					req.action = power.Halt
				case 'r':
					req.action = power.Reboot
				case 'f':
					req.force = true
				case 'c':
					return request{}, fmt.Errorf("nothing to cancel: %w", errNoSchedule)
				default:
					return request{}, fmt.Errorf("unknown argument %q", arg)
				}
			}
		}
	}
	return req, nil
}

// shutdownOperand says why a time or a message is refused. Taking a time and
// going down at once would cost someone their work.
func shutdownOperand(arg string) error {
	if strings.HasPrefix(arg, "+") || strings.Contains(arg, ":") {
		return fmt.Errorf("time %q: %w", arg, errNoSchedule)
	}
	return fmt.Errorf("unknown argument %q", arg)
}
