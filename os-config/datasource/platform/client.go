package platform

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/bulkhead-os/bulkhead/internal/retry"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
	"github.com/bulkhead-os/bulkhead/os-config/datasource/tftp"
)

const (
	// attemptLimit bounds one request; a server that says nothing is asked
	// again, for as long as the context allows.
	attemptLimit = 3 * time.Second
	// downloadLimit bounds one request to a server that people run.
	downloadLimit = time.Minute
	firstPause    = 100 * time.Millisecond
	lastPause     = time.Second
	maxRedirects  = 5
)

// ErrAbsent means that the server does not have what was asked for.
var ErrAbsent = errors.New("not there")

// A statusError is an answer that is none of those that have a meaning.
type statusError struct {
	status string
	code   int
}

func (e *statusError) Error() string { return "answer " + e.status }

// A client asks one server. It uses no proxy: metadata is for the machine
// that asks.
type client struct {
	http   http.Client
	base   string
	header http.Header
	limit  time.Duration // of one attempt
}

// newClient returns a client of a metadata service. Headers are alternating
// names and values; they are sent to no other host, so redirections there are
// refused.
func newClient(base string, headers ...string) *client {
	c := &client{base: strings.TrimSuffix(base, "/"), header: make(http.Header), limit: attemptLimit}
	for i := 0; i+1 < len(headers); i += 2 {
		c.header.Set(headers[i], headers[i+1])
	}
	c.http.Transport = &http.Transport{DialContext: (&net.Dialer{}).DialContext}
	c.http.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if len(via) > maxRedirects || req.URL.Host != via[0].URL.Host {
			return fmt.Errorf("refused to be sent on to %s", req.URL.Host)
		}
		return nil
	}
	return c
}

// close ends idle connections.
func (c *client) close() { c.http.CloseIdleConnections() }

// get returns the content of a path below the base. It asks again while the
// server cannot be reached, says nothing or has a fault, until ctx ends.
func (c *client) get(ctx context.Context, path string) ([]byte, error) {
	return c.do(ctx, http.MethodGet, path)
}

// getJSON decodes the content of a path into v.
func (c *client) getJSON(ctx context.Context, path string, v any) error {
	text, err := c.get(ctx, path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("%s%s: %w", c.base, path, err)
	}
	return nil
}

// getOptional returns nil for what is not there.
func (c *client) getOptional(ctx context.Context, path string) ([]byte, error) {
	text, err := c.get(ctx, path)
	if errors.Is(err, ErrAbsent) {
		return nil, nil
	}
	return text, err
}

func (c *client) do(ctx context.Context, method, path string) ([]byte, error) {
	target := c.base + path
	pauses := retry.Backoff{First: firstPause, Last: lastPause}
	for {
		text, again, err := c.attempt(ctx, method, target)
		if err == nil {
			return text, nil
		}
		err = fmt.Errorf("%s: %w", redact(target), err)
		if !again || ctx.Err() != nil {
			return nil, err
		}
		if retry.Sleep(ctx, pauses.Next()) != nil {
			return nil, err
		}
	}
}

// attempt makes one request and says whether it is worth another.
func (c *client) attempt(ctx context.Context, method, target string) (text []byte, again bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, target, nil)
	if err != nil {
		return nil, false, err
	}
	req.Header = c.header
	resp, err := c.http.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // the rest of it is in the caller's message
		}
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("no answer: %w", context.DeadlineExceeded)
		}
		return nil, resp == nil, err // there is an answer when a redirection is refused
	}
	defer resp.Body.Close()
	switch code := resp.StatusCode; code {
	case http.StatusOK:
	case http.StatusNoContent:
		return nil, false, nil
	case http.StatusNotFound, http.StatusGone:
		return nil, false, ErrAbsent
	default:
		again = code >= 500 && code != http.StatusNotImplemented || code == http.StatusTooManyRequests || code == http.StatusRequestTimeout
		return nil, again, &statusError{resp.Status, code}
	}
	text, err = io.ReadAll(io.LimitReader(resp.Body, osconfig.MaxContent+1))
	if err != nil {
		return nil, true, err
	}
	if len(text) > osconfig.MaxContent {
		return nil, false, fmt.Errorf("larger than %d MiB", osconfig.MaxContent>>20)
	}
	return text, false, nil
}

// redact removes what may be secret in an address.
func redact(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "address that is none"
	}
	if u.RawQuery != "" {
		u.RawQuery = "…"
	}
	return u.Redacted()
}

// Download gets what lies at an address that a person gave: http, https or tftp.
func Download(ctx context.Context, address string) ([]byte, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return nil, errors.New("expected an address such as https://host/path")
	}
	switch u.Scheme {
	case "tftp":
		data, err := tftp.Get(ctx, u.Host, strings.TrimPrefix(u.Path, "/"), osconfig.MaxContent)
		if errors.Is(err, tftp.ErrNotFound) {
			err = fmt.Errorf("%w: %w", ErrAbsent, err)
		}
		return data, err
	case "http", "https":
	default:
		return nil, fmt.Errorf("%s: expected http, https or tftp", redact(address))
	}
	c := newClient(address)
	c.base, c.limit = address, downloadLimit
	c.http.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if len(via) > maxRedirects {
			return errors.New("sent on and on")
		}
		if via[0].URL.Scheme == "https" && req.URL.Scheme != "https" {
			return fmt.Errorf("refused to be sent on from https to %s", req.URL.Scheme)
		}
		return nil
	}
	defer c.close()
	return c.get(ctx, "")
}
