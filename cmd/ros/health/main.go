// Package health is the program that the services' health checks run. Each
// check asks the service itself, and costs a few system calls: under emulation
// the start of a process is the expensive part. It repairs nothing.
package health

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/bulkhead-os/bulkhead/internal/layout"
)

// limit bounds a check. The declarations' timeouts are longer, so that a hung
// service is named by the check.
const limit = 50 * time.Second

// A check returns nil when its service works.
type check func(ctx context.Context) error

// checks are the services whose own tools cannot answer more cheaply.
func checks() map[string]check {
	return map[string]check{
		"docker":  dockerAPI(layout.UserRunDir + "/docker.sock"),
		"network": network,
		"syslog":  socket("unixgram", layout.SyslogSocket),
		"acpid":   socket("unix", "/run/acpid.socket"),
	}
}

// Main runs the check named by its only argument.
func Main(args []string) int {
	all := checks()
	var run check
	if len(args) == 2 {
		run = all[args[1]]
	}
	if run == nil {
		fmt.Fprintf(os.Stderr, "usage: health %s\n", strings.Join(slices.Sorted(maps.Keys(all)), "|"))
		return 2
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
