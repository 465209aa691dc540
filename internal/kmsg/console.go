package kmsg

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Consoles returns the names of the terminals the kernel prints to, and ttyS0
// where it exists: people watch the serial port of a machine whose boot line
// names none.
func Consoles() []string { return consoles("/") }

func consoles(root string) []string {
	active, err := os.ReadFile(filepath.Join(root, "sys/class/tty/console/active"))
	if err != nil {
		active = nil
	}
	names := strings.Fields(string(active))
	if slices.Contains(names, "ttyS0") || !isSerialPort(root, "ttyS0") {
		return names
	}
	return append(names, "ttyS0")
}

// isSerialPort tells a port with hardware behind it from the placeholders that
// the 8250 driver makes for its four legacy ports (type 0, PORT_UNKNOWN).
func isSerialPort(root, name string) bool {
	kind, err := os.ReadFile(filepath.Join(root, "sys/class/tty", name, "type"))
	return err == nil && strings.TrimSpace(string(kind)) != "0"
}

// consoleLimit is how long one console may take to swallow a line: a serial
// line with flow control and no one at the other end never does.
const consoleLimit = time.Second

// Announce writes line to every console, on a line of its own. It fails only
// when no console took it.
func Announce(line string) error {
	names := Consoles()
	var errs []error
	for _, name := range names {
		if err := announce("/dev/"+name, line); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) == len(names) {
		return fmt.Errorf("write to the consoles %v: %w", names, errors.Join(errs...))
	}
	return nil
}

func announce(path, line string) error {
	// Without O_NOCTTY, the terminal would become that of a session leader
	// such as PID 1, and its Ctrl-C with it.
	f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NOCTTY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	// A file that cannot wait has no deadline and does not need one.
	_ = f.SetWriteDeadline(time.Now().Add(consoleLimit))
	// A prompt may stand on the current line.
	_, err = f.WriteString("\n" + oneLine(line) + "\n")
	return err
}
