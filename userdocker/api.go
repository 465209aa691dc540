package userdocker

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"time"
)

// An api is the part of the daemon's API that the engine needs.
type api struct{ client *http.Client }

func newAPI(socket string) api {
	return api{&http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
		DisableKeepAlives: true,
	}}}
}

// get decodes the answer to a GET into v, which may be nil. The socket is
// open before the daemon is, so an answer may take as long as its start.
func (a api) get(ctx context.Context, path string, v any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker"+path, nil)
	if err != nil {
		return err
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("docker API: GET %s: %s", path, resp.Status)
	}
	if v == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
		return fmt.Errorf("docker API: GET %s: %w", path, err)
	}
	return nil
}

func (a api) ping(ctx context.Context) error { return a.get(ctx, "/_ping", nil) }

// awaitLiveRestore waits until the daemon has switched live-restore on or off.
func (a api) awaitLiveRestore(ctx context.Context, on bool, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		var info struct{ LiveRestoreEnabled bool }
		err := a.get(ctx, "/info", &info)
		if err == nil && info.LiveRestoreEnabled == on {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("live-restore is still %t after %s: %w", !on, limit, context.Cause(ctx))
		case <-time.After(50 * time.Millisecond):
		}
	}
}
