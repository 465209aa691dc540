// Package network is two programs. network brings the interfaces into the
// state that the configuration describes, keeps dhcpcd running for those that
// want it, and does so again when interfaces come and go. network-hook, which
// dhcpcd runs at each change, hands on what a network said: name servers, time
// servers, a host name. Leases are dhcpcd's.
//
// The plan is pure: Plan says what each interface should be, structure and
// setup what to change, kernel changes it.
package network

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/oslog"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

// Main runs the program network until SIGTERM. Addresses stay when it ends.
func Main([]string) int {
	log := oslog.New("network")
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	for _, dir := range []string{layout.NetworkDir, layout.NTPDir, "/run/dhcpcd"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			log.Error("network service does not start", "err", err)
			return 1
		}
	}
	if err := setDefaults(); err != nil {
		log.Warn("kernel settings", "err", err)
	}
	first := newPrecedence(log)
	go first.keep(ctx)
	s := &service{
		own: first.of, protect: install, tunnels: newTunnels(log),
		log: log, kernel: kernel{}, dhcpcd: &client{log: log}, shipped: shippedConfig,
		files: newPublisher(log), run: runCommand,
		load: func() (osconfig.Config, error) {
			cfg, _, err := osconfig.LoadRunning() // cloud-init tells the problems
			return cfg, err
		},
	}
	if err := s.serve(ctx); err != nil {
		log.Error("network service ends", "err", err)
		return 1
	}
	return 0
}
