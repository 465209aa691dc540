// Package userdocker is the user tier: the main process of the container docker.
// It makes the daemon's settings from built-in ones, the machine's configuration
// and the user's daemon.json. It keeps containerd and dockerd running, and makes
// user containers outlive the engine, except when the machine shuts down. The
// orchestrator starts the container that it runs in.
package userdocker

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/bulkhead-os/bulkhead/internal/oslog"
)

// Main runs the program user-docker.
func Main([]string) int {
	log := oslog.New("user-docker")
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	if err := newEngine(log).run(ctx, reload); err != nil {
		log.Error("user Docker ended", "err", err)
		return 1
	}
	return 0
}
