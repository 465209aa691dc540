package poweroff

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/bulkhead-os/bulkhead/internal/power"
)

// A request is what a command line asks for.
type request struct {
	action power.Action
	force  bool
	help   bool
	// nothing is asked for by an option that elsewhere only writes a record.
	nothing bool

	// Those of shutdown alone.
	when     when
	message  string
	cancel   bool
	show     bool
	warnOnly bool // tell people, and do nothing
	silent   bool // tell nobody
}

// A when is the time of an end: at once, after some time, or at a time of day.
type when struct {
	delay        time.Duration
	hour, minute int
	clock        bool // hour and minute count
}

// now reports whether there is nothing to wait for.
func (w when) now() bool { return !w.clock && w.delay == 0 }

// after returns how long it is from a moment until then.
func (w when) after(t time.Time) time.Duration {
	if !w.clock {
		return w.delay
	}
	next := time.Date(t.Year(), t.Month(), t.Day(), w.hour, w.minute, 0, 0, t.Location())
	if !next.After(t) {
		next = time.Date(t.Year(), t.Month(), t.Day()+1, w.hour, w.minute, 0, 0, t.Location())
	}
	return next.Sub(t)
}

// usual is what shutdown without a time means, as in Debian: time to think.
var usual = when{delay: time.Minute}

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
		case "--force", "-f", "-ff":
			req.force = true
		case "--halt", "--poweroff", "--reboot":
			req.action = longAction(arg)
		case "-p":
			req.action = power.PowerOff
		case "-w", "--wtmp-only":
			req.nothing = true
		case "-d", "--no-wtmp", "-n", "--no-sync", "--no-wall", "-i":
			// There are no such records, it is never left out, and no notice is shown.
		default:
			return request{}, fmt.Errorf("unknown argument %q", arg)
		}
	}
	return req, nil
}

// longAction is the action that a long option names.
func longAction(option string) power.Action {
	return power.Action(strings.TrimPrefix(option, "--"))
}

// parseShutdown differs from the others: -h is --poweroff, -H is --halt, there
// is a time with a message behind it, and short options may be joined ("-hP").
func parseShutdown(args []string) (request, error) {
	req := request{action: power.PowerOff, when: usual}
	var operands []string
	for i, arg := range args {
		if arg == "--" {
			operands = append(operands, args[i+1:]...)
			break
		}
		if !strings.HasPrefix(arg, "-") || arg == "-" {
			operands = append(operands, arg)
			continue
		}
		if err := req.option(arg); err != nil {
			return request{}, err
		}
	}
	if len(operands) > 0 && !req.cancel {
		var err error
		if req.when, err = parseWhen(operands[0]); err != nil {
			return request{}, err
		}
		operands = operands[1:]
	}
	req.message = strings.Join(operands, " ")
	return req, nil
}

// option takes an option of shutdown, or several short ones.
func (req *request) option(arg string) error {
	switch arg {
	case "--help":
		req.help = true
	case "--halt", "--poweroff", "--reboot":
		req.action = longAction(arg)
	case "--force":
		req.force = true
	case "--no-wall":
		req.silent = true
	case "--show":
		req.show = true
	default:
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
				req.cancel = true
			case 'k':
				req.warnOnly = true
			default:
				return fmt.Errorf("unknown argument %q", arg)
			}
		}
	}
	return nil
}

// parseWhen reads a time as shutdown(8) of Debian does: a number is minutes.
func parseWhen(text string) (when, error) {
	if text == "now" {
		return when{}, nil
	}
	if t, err := time.Parse("15:04", text); err == nil {
		return when{clock: true, hour: t.Hour(), minute: t.Minute()}, nil
	}
	minutes, err := strconv.ParseUint(strings.TrimPrefix(text, "+"), 10, 31)
	if err != nil {
		return when{}, fmt.Errorf("%q is no time: want now, +MINUTES or HH:MM, and the message behind it", text)
	}
	return when{delay: time.Duration(minutes) * time.Minute}, nil
}
