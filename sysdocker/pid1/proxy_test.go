package pid1

import (
	"os"
	"path/filepath"
	"testing"
)

func TestUseProxies(t *testing.T) {
	file := filepath.Join(t.TempDir(), "proxies")
	if err := useProxies(file); err != nil {
		t.Errorf("without a file: %v", err)
	}
	t.Setenv("http_proxy", "")
	t.Setenv("NO_PROXY", "")
	if err := os.WriteFile(file, []byte("http_proxy=http://me:a=b@proxy:3128\nNO_PROXY=localhost,10.0.0.0/8\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := useProxies(file); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"http_proxy": "http://me:a=b@proxy:3128", "NO_PROXY": "localhost,10.0.0.0/8"} {
		if got := os.Getenv(name); got != want {
			t.Errorf("%s = %q; want %q", name, got, want)
		}
	}
}
