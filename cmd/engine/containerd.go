package main

import (
	"context"
	"fmt"
	"os"

	_ "github.com/containerd/containerd/v2/cmd/containerd/builtins"
	"github.com/containerd/containerd/v2/cmd/containerd/command"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/bulkhead-os/bulkhead/internal/idle"
)

// containerd is the stock daemon. With dockerd in one binary it weighs next to
// nothing, but both count gRPC calls under the same names: swarmkit registers
// its counters as soon as it is linked in, and containerd would end when it
// finds them. So it gets a registry of its own.
func containerd() int {
	prometheus.DefaultRegisterer = prometheus.NewRegistry()
	ctx := context.Background()
	go idle.Trim(ctx)
	if err := command.App().Run(ctx, os.Args); err != nil {
		fmt.Fprintf(os.Stderr, "containerd: %s\n", err)
		return 1
	}
	return 0
}
