package wait

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"
)

// checkLimit bounds one check, so that a peer that accepts and then hangs is
// tried again. A daemon that is still starting answers the first question once
// it is up; asking again earlier than this would only cost time.
const checkLimit = 5 * time.Second

// File is the condition that path exists.
func File(path string) Condition { return file(path) }

type file string

func (f file) String() string { return "file " + string(f) }

func (f file) Check(context.Context) error {
	_, err := os.Stat(string(f))
	return err
}

// Socket is the condition that the unix socket at path accepts connections,
// or takes datagrams when it is of that kind.
func Socket(path string) Condition { return socket(path) }

type socket string

func (s socket) String() string { return "socket " + string(s) }

func (s socket) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkLimit)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", string(s))
	if errors.Is(err, syscall.EPROTOTYPE) {
		conn, err = d.DialContext(ctx, "unixgram", string(s))
	}
	if err != nil {
		return err
	}
	return conn.Close()
}

// DockerAPI is the condition that a Docker daemon answers on the unix socket
// at path.
func DockerAPI(path string) Condition {
	return dockerAPI{path: path, client: &http.Client{
		Timeout: checkLimit,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, "unix", path)
			},
		},
	}}
}

type dockerAPI struct {
	path   string
	client *http.Client
}

func (d dockerAPI) String() string { return "Docker API on " + d.path }

func (d dockerAPI) Check(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker/_ping", nil)
	if err != nil {
		return err
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ping: %s", resp.Status)
	}
	return nil
}
