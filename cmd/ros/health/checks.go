package health

import (
	"context"
	"fmt"
	"net"
	"net/http"
)

// dockerAPI asks a daemon whether it is there.
func dockerAPI(path string) check {
	return func(ctx context.Context) error {
		client := &http.Client{Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", path)
			},
		}}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker/_ping", nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("docker API on %s: %s", path, resp.Status)
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
