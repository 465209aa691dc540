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

func TestStartsContainers(t *testing.T) {
	for _, tt := range []struct {
		path, content string
		want          bool
	}{
		{"containers/a/hostconfig.json", `{"RestartPolicy":{"Name":"always","MaximumRetryCount":0}}`, true},
		{"containers/a/hostconfig.json", `{"RestartPolicy":{"Name":"unless-stopped"}}`, true},
		{"containers/a/hostconfig.json", `{"RestartPolicy":{"Name":"no"}}`, false},
		{"containers/a/hostconfig.json", `{"RestartPolicy":{"Name":""}}`, false},
		{"containers/a/hostconfig.json", `{"Restart`, false}, // cut off: the daemon does not start it either
		{"swarm/docker-state.json", `{}`, true},
		{"engine-id", "", false},
	} {
		root := t.TempDir()
		file := filepath.Join(root, tt.path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(tt.content), 0o600)); err != nil {
			t.Fatal(err)
		}
		if got := startsContainers(root); got != tt.want {
			t.Errorf("%s with %s: %v; want %v", tt.path, tt.content, got, tt.want)
		}
	}
}
