package health

import (
	"context"
	"fmt"
	"net"

	"github.com/bulkhead-os/bulkhead/internal/wait"
)

// dockerAPI asks a daemon whether it is there.
func dockerAPI(path string) check {
	return func(ctx context.Context) error {
		c := wait.DockerAPI(path)
		if err := c.Check(ctx); err != nil {
			return fmt.Errorf("%s: %w", c, err)
		}
		return nil
	}
}

// socket connects; the process that bound the path is alive then.
func socket(network, path string) check {
	return func(ctx context.Context) error {
		c, err := new(net.Dialer).DialContext(ctx, network, path)
		if err != nil {
			return err
		}
		return c.Close()
	}
}
