package release

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/retry"
	"github.com/bulkhead-os/bulkhead/internal/work"
)

// A Source is where the files of a release are.
type Source interface {
	// Open returns a file from an offset on, and the size of all of it, or -1
	// where that is not known. Without the file the error is fs.ErrNotExist.
	Open(ctx context.Context, path string, offset int64) (from io.ReadCloser, size int64, err error)
}

// A Release is one that has been looked at: nothing but its manifest has been
// read.
type Release struct {
	Manifest
	// Text is that of the manifest, and Signature may be empty.
	Text, Signature []byte
	Source          Source
}

// maxManifest is more than a manifest and its signature ever have.
const maxManifest = 1 << 20

// Look reads what a source says of its release.
func Look(ctx context.Context, from Source) (Release, error) {
	r := Release{Source: from}
	var err error
	if r.Text, err = readAll(ctx, from, layout.ReleaseFile); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("there is no release: %w", err)
		}
		return r, err
	}
	if r.Signature, err = readAll(ctx, from, layout.ReleaseSignature); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return r, err
	}
	r.Manifest, err = Parse(r.Text)
	return r, err
}

func readAll(ctx context.Context, from Source, path string) ([]byte, error) {
	f, _, err := from.Open(ctx, path, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxManifest))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return text, nil
}

// Check reports whether the source has all files as the manifest says: their
// sizes, and where reading them costs no download their digests, too.
func (r Release) Check(ctx context.Context, meter *work.Meter) error {
	_, local := r.Source.(Folder)
	if local {
		meter.Expect(r.Size())
	}
	for _, f := range r.Files {
		from, size, err := r.Source.Open(ctx, f.Path, 0)
		if err != nil {
			return err
		}
		from.Close()
		if size >= 0 && size != f.Size {
			return fmt.Errorf("%s has %d bytes, and the release says %d: get it again", f.Path, size, f.Size)
		}
		if !local {
			continue
		}
		if err := f.Verify(ctx, r.Source, meter); err != nil {
			return fmt.Errorf("%w: get it again", err)
		}
	}
	return nil
}

// Folder is a release in a directory, such as a mounted stick or ISO.
type Folder string

// Open opens a file.
func (dir Folder) Open(_ context.Context, path string, offset int64) (io.ReadCloser, int64, error) {
	f, err := os.Open(filepath.Join(string(dir), path))
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil {
		_, err = f.Seek(offset, io.SeekStart)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// Web is a release on a web server: the address of its folder.
type Web struct {
	base   *url.URL
	client *http.Client
}

// How a download goes on after the connection broke: so often, after a pause,
// without any new byte.
const (
	attempts     = 5
	attemptPause = 2 * time.Second
	// silence is how long a server may take to begin its answer.
	silence = 30 * time.Second
)

// NewWeb returns the release at an address: that of a folder, or of the
// release.json in it.
func NewWeb(address string) (*Web, error) {
	base, err := url.Parse(address)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, fmt.Errorf("%s: expected an address such as https://host/folder/", address)
	}
	if strings.HasSuffix(base.Path, ".iso") {
		return nil, fmt.Errorf("%s: an ISO has to be on this machine: download it, and say --from FILE", address)
	}
	base.Path = strings.TrimSuffix(strings.TrimSuffix(base.Path, layout.ReleaseFile), "/")
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = silence
	client := &http.Client{Transport: transport, CheckRedirect: func(req *http.Request, via []*http.Request) error {
		if len(via) > 10 {
			return errors.New("sent on and on")
		}
		if via[0].URL.Scheme == "https" && req.URL.Scheme != "https" {
			return fmt.Errorf("refused to be sent on from https to %s", req.URL.Scheme)
		}
		return nil
	}}
	return &Web{base: base, client: client}, nil
}

// Open asks for a file. What it returns asks again, for the rest, when the
// connection breaks.
func (w *Web) Open(ctx context.Context, path string, offset int64) (io.ReadCloser, int64, error) {
	body, size, err := w.get(ctx, path, offset)
	if err != nil {
		return nil, 0, err
	}
	return &download{web: w, ctx: ctx, path: path, at: offset, body: body, left: attempts}, size, nil
}

func (w *Web) get(ctx context.Context, path string, offset int64) (io.ReadCloser, int64, error) {
	address := w.base.JoinPath(path)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return nil, 0, err
	}
	if offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return nil, 0, err
	}
	size := resp.ContentLength
	switch resp.StatusCode {
	case http.StatusOK:
		// A server without ranges sends all of it.
		_, err = io.CopyN(io.Discard, resp.Body, offset)
	case http.StatusPartialContent:
		if size >= 0 {
			size += offset
		}
	case http.StatusNotFound, http.StatusGone:
		err = fs.ErrNotExist
	default:
		err = fmt.Errorf("the answer is %s", resp.Status)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", address.Redacted(), errors.Join(err, resp.Body.Close()))
	}
	return resp.Body, size, nil
}

// A download reads a file from a server, across connections.
type download struct {
	web  *Web
	ctx  context.Context
	path string
	at   int64
	body io.ReadCloser
	// left is how many attempts without a byte there may be.
	left int
}

func (d *download) Read(b []byte) (int, error) {
	for {
		n, err := d.body.Read(b)
		d.at += int64(n)
		if n > 0 {
			d.left = attempts
		}
		if err == nil || errors.Is(err, io.EOF) || n > 0 {
			if n > 0 && !errors.Is(err, io.EOF) {
				err = nil // it comes again with the next call
			}
			return n, err
		}
		if err := d.reopen(err); err != nil {
			return 0, err
		}
	}
}

// reopen asks for the rest after the connection broke.
func (d *download) reopen(broken error) error {
	for ; d.left > 0; d.left-- {
		if err := retry.Sleep(d.ctx, attemptPause); err != nil {
			return err
		}
		body, _, err := d.web.get(d.ctx, d.path, d.at)
		if err == nil {
			d.left--
			_ = d.body.Close() // it is broken
			d.body = body
			return nil
		}
		broken = err
	}
	return fmt.Errorf("the connection broke %d times, at %d bytes of %s: %w; run the command again to go on from there", attempts, d.at, d.path, broken)
}

func (d *download) Close() error { return d.body.Close() }
