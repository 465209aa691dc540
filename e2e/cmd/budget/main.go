// Command budget prints the system's size, boot time and memory next to those
// of a Debian with the same engine; scripts/budget is its front door.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/bulkhead-os/bulkhead/e2e/budget"
)

func main() {
	iso := flag.String("iso", "dist/artifacts/bulkhead-amd64.iso", "the ISO to measure")
	runs := flag.Int("runs", 1, "how many times to measure")
	flag.Parse()
	if err := run(context.Background(), *iso, *runs); err != nil {
		fmt.Fprintln(os.Stderr, "budget:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, iso string, runs int) error {
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	peer, err := budget.BuildPeer(ctx, filepath.Join(cache, "bulkhead"), os.Stderr)
	if err != nil {
		return err
	}
	for range runs {
		report, err := budget.Compare(ctx, iso, peer)
		if err != nil {
			return err
		}
		fmt.Println(report)
	}
	return nil
}
