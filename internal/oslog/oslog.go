// Package oslog is the logger of every program of ours that runs after PID 1:
// slog text to standard error, which `system-docker logs` shows, and the same
// record to syslog as soon as the syslog service listens. It keeps no records
// for a syslog that is not there, and never makes a program wait for one.
package oslog

import (
	"io"
	"log/slog"
	"os"

	"github.com/bulkhead-os/bulkhead/internal/layout"
)

// New returns the logger of the named program.
func New(program string) *slog.Logger {
	return newLogger(os.Stderr, program, layout.SyslogSocket)
}

func newLogger(stderr io.Writer, program, socket string) *slog.Logger {
	return slog.New(slog.NewMultiHandler(
		slog.NewTextHandler(stderr, nil),
		newSyslogHandler(program, socket),
	))
}
