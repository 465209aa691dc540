// Package kmsg talks to the people in front of the machine: it writes to the
// kernel log and to the consoles. It needs no daemon, so it serves before
// syslog runs and when nothing else works. It does not read the kernel log.
package kmsg

import (
	"fmt"
	"os"
	"strings"
	"unicode/utf8"
)

// A Priority is a syslog severity; see syslog(3).
type Priority int

// The severities in use. The kernel shows those below its console log level.
const (
	Error   Priority = 3
	Warning Priority = 4
	Notice  Priority = 5
	Info    Priority = 6
	Debug   Priority = 7
)

// FacilityDaemon is syslog's "system daemons" (RFC 5424 §6.2.1), in front of a
// priority. It marks records that came from user space; the kernel keeps
// facility 0 for its own.
const FacilityDaemon = 3 << 3

// maxRecord is what fits into one record of the kernel's ring buffer together
// with its prefix (LOG_LINE_MAX is 1024 less the prefix); longer writes fail
// with EINVAL.
const maxRecord = 900

// Device is the kernel log's device.
const Device = "/dev/kmsg"

// Write puts one record into the kernel log.
func Write(p Priority, msg string) error {
	return write(Device, p, msg)
}

func write(path string, p Priority, msg string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	// One write is one record.
	_, err = f.WriteString(Record(p, msg))
	return err
}

// Record returns msg as one record: prefixed with its priority, on one line,
// valid UTF-8 and at most 900 bytes long.
func Record(p Priority, msg string) string {
	return cut(fmt.Sprintf("<%d>%s", FacilityDaemon|int(p), oneLine(msg)), maxRecord)
}

// Failure returns the line that tells people what went wrong in which step of
// the boot, and what to do about it.
func Failure(step string, cause error, remedy string) string {
	return fmt.Sprintf("bulkhead: FAILED step=%s cause=%q remedy=%q", step, oneLine(cause.Error()), remedy)
}

// oneLine joins lines with semicolons and drops empty ones.
func oneLine(s string) string {
	var lines []string
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.ToValidUTF8(strings.Join(lines, "; "), "?")
}

// cut shortens s to at most n bytes without splitting a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	const mark = "…"
	n -= len(mark)
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + mark
}
