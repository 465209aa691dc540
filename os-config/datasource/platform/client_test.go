package platform

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

func TestDownload(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/config", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("#cloud-config\n")) })
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, osconfig.MaxContent+1)) })
	mux.HandleFunc("/refused", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
	mux.HandleFunc("/empty", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.Handle("/moved", http.RedirectHandler("/config", http.StatusFound))
	mux.Handle("/round", http.RedirectHandler("/round", http.StatusFound))
	base := serve(t, mux)
	mux.Handle("/elsewhere", http.RedirectHandler(serve(t, mux)+"/config", http.StatusFound))

	tests := []struct{ address, want, wantErr string }{
		{base + "/config", "#cloud-config\n", ""},
		{base + "/moved", "#cloud-config\n", ""},
		{base + "/elsewhere", "#cloud-config\n", ""},
		{base + "/empty", "", ""},
		{base + "/gone", "", "not there"},
		{base + "/refused?token=secret", "", "answer 403"},
		{base + "/round", "", "sent on and on"},
		{base + "/large", "", "larger than 16 MiB"},
		{"ftp://example.org/x", "", "expected http, https or tftp"},
		{"/x", "", "expected an address"},
		{"http://[::1", "", "expected an address"},
		{"tftp://127.0.0.1", "", "expected the name of a file"},
	}
	for _, tt := range tests {
		got, err := Download(bounded(t), tt.address)
		if string(got) != tt.want || (err != nil) != (tt.wantErr != "") {
			t.Errorf("Download(%s) = %.40q, %v; want %q, error %q", tt.address, got, err, tt.want, tt.wantErr)
		}
		if err != nil && (!strings.Contains(err.Error(), tt.wantErr) || strings.Contains(err.Error(), "secret")) {
			t.Errorf("Download(%s): error %q; want %q in it, and no secrets", tt.address, err, tt.wantErr)
		}
	}
}

func TestDownloadUnreachable(t *testing.T) {
	base := serve(t, http.NotFoundHandler())
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	// A port that nobody listens on.
	if _, err := Download(ctx, strings.TrimRight(base, "0123456789")+"1/x"); err == nil || ctx.Err() == nil {
		t.Errorf("Download = %v before the deadline; want it to try until then", err)
	}
}

func TestLocalFiles(t *testing.T) {
	files := fstest.MapFS{
		"var/lib/rancher/c.yml":          {Data: []byte("#cloud-config\n")},
		"var/lib/rancher/seed/meta-data": {Data: []byte("instance-id: i\n")},
	}
	tests := []struct {
		item    string
		wantErr error
	}{
		{"file:/var/lib/rancher/c.yml", nil},
		{"file:/var/lib/rancher/gone", ErrAbsent},
		{"nocloud:/var/lib/rancher/seed", nil},
		{"nocloud:file:///var/lib/rancher/seed/", nil},
		{"nocloud:/var/lib/rancher/gone/", ErrAbsent},
	}
	for _, tt := range tests {
		sources, err := New(tt.item, Machine{Files: files})
		if err != nil {
			t.Fatal(err)
		}
		res, err := sources[0].Fetch(t.Context())
		if !errors.Is(err, tt.wantErr) || res.Empty() != (tt.wantErr != nil) {
			t.Errorf("%s: %v, %v; want error %v", tt.item, res, err, tt.wantErr)
		}
	}
}
