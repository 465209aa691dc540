package userdocker

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-os/bulkhead/internal/layout"
)

func TestTrust(t *testing.T) {
	root := t.TempDir()
	want := []string{"SSL_CERT_DIR=" + layout.CertDir}
	if diff := cmp.Diff(want, trust(root)); diff != "" {
		t.Errorf("without a configuration (-want +got):\n%s", diff)
	}
	only := filepath.Join(root, layout.OnlyTrusted)
	if err := errors.Join(os.MkdirAll(filepath.Dir(only), 0o755), os.WriteFile(only, nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	want = []string{"SSL_CERT_DIR=" + layout.CertDir, "SSL_CERT_FILE=" + layout.TrustedCerts}
	if diff := cmp.Diff(want, trust(root)); diff != "" {
		t.Errorf("with one (-want +got):\n%s", diff)
	}
}
