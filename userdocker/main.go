// Package userdocker is the user tier: the main process of the docker
// container. It makes the daemon's configuration out of built-in settings and
// the user's daemon.json, keeps containerd and dockerd running, and sees to it
// that user containers outlive the engine, except when the machine goes down.
// It does not start the container it runs in; the orchestrator does.
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
