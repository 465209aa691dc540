package dockercli

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/moby/moby/client"

	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/retry"
)

const (
	// swarmLimit is how long user Docker's engine may take to have others.
	swarmLimit = 2 * time.Minute
	// swarmPoll is how often it is asked.
	swarmPoll = 500 * time.Millisecond
)

// runForSwarm is run, once more for a swarm that user Docker has refused for its
// settings: its engine (package userdocker) then makes them suit one.
func runForSwarm(ctx context.Context) error {
	dockerCli, err := newCLI(ctx)
	if err != nil {
		return err
	}
	err = execute(ctx, dockerCli)
	if err == nil || !strings.Contains(err.Error(), layout.SwarmRefused) || !awaitSwarmSettings(ctx, dockerCli.Client()) {
		return err
	}
	return run(ctx)
}

// awaitSwarmSettings waits until the settings of the daemon suit a swarm. It
// waits for no daemon but Bulkhead's.
func awaitSwarmSettings(ctx context.Context, daemon client.APIClient) bool {
	ctx, cancel := context.WithTimeout(ctx, swarmLimit)
	defer cancel()
	told := false
	for {
		// While the daemon starts the question waits, or fails.
		info, err := daemon.Info(ctx, client.InfoOptions{})
		switch {
		case err != nil:
		case !strings.HasPrefix(info.Info.OperatingSystem, "Bulkhead"):
			return false
		case !info.Info.LiveRestoreEnabled && (info.Info.FirewallBackend == nil || info.Info.FirewallBackend.Driver != "nftables"):
			return true
		}
		if !told {
			told = true
			fmt.Fprintln(os.Stderr, "Docker takes settings that suit a swarm (iptables, no live-restore); containers run on.")
		}
		if retry.Sleep(ctx, swarmPoll) != nil {
			return false
		}
	}
}
