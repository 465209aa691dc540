package userdocker

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-os/bulkhead/internal/layout"
)

func TestMachineEnvironment(t *testing.T) {
	root := t.TempDir()
	want := []string{"SSL_CERT_DIR=" + layout.CertDir}
	if diff := cmp.Diff(want, machineEnvironment(root)); diff != "" {
		t.Errorf("without a configuration (-want +got):\n%s", diff)
	}
	for path, text := range map[string]string{layout.Proxies: "no_proxy=a,b\nNO_PROXY=a,b\n", layout.OnlyTrusted: "x"} {
		if err := os.MkdirAll(filepath.Join(root, filepath.Dir(path)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, path), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want = []string{"no_proxy=a,b", "NO_PROXY=a,b", "SSL_CERT_DIR=" + layout.CertDir, "SSL_CERT_FILE=" + layout.TrustedCerts}
	if diff := cmp.Diff(want, machineEnvironment(root)); diff != "" {
		t.Errorf("with one (-want +got):\n%s", diff)
	}
}
