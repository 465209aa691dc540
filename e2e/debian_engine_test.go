package e2e

import (
	"archive/tar"
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/bulkhead-os/bulkhead/iso/debian"
)

// debianEngine is the version of Debian's package docker.io.
const debianEngine = "26.1.5"

// debianPrograms are the engine's, as Debian has them, by package. What they are
// linked to is in the layers of every service.
var debianPrograms = map[string][]string{
	"docker.io":  {"/usr/sbin/dockerd", "/usr/sbin/docker-proxy"},
	"containerd": {"/usr/bin/containerd", "/usr/bin/containerd-shim-runc-v2"},
	"runc":       {"/usr/sbin/runc"},
}

// debianFlavour is what user-docker has to know of that engine: its containerd is
// of the first generation, it knows no nftables, and it must be told to keep
// images where later engines do.
const debianFlavour = `{"containerd_config": 2, "settings": {"firewall-backend": null, "features": {"containerd-snapshotter": true}}}`

// debianEngineFiles fetches the packages that the build would, into its cache.
func debianEngineFiles(t *testing.T) map[string]program {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	archive, err := debian.Open(ctx, filepath.Join(cache, "bulkhead", "packages"), 365*24*time.Hour, os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for name := range debianPrograms {
		names = append(names, name)
	}
	all, err := archive.Resolve(ctx, names)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]program{"/usr/lib/bulkhead/engine.json": program(debianFlavour)}
	for _, p := range all {
		wanted := debianPrograms[p.Name]
		if len(wanted) == 0 {
			continue
		}
		if err := archive.Fetch(ctx, []debian.Package{p}, func(debian.Package) {}); err != nil {
			t.Fatal(err)
		}
		err := debian.Walk(ctx, archive.Path(p), func(h *tar.Header, in io.Reader) error {
			for _, name := range wanted {
				if filepath.Join("/", h.Name) != name {
					continue
				}
				content, err := io.ReadAll(in)
				if err != nil {
					return err
				}
				files[name] = content
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range wanted {
			if files[name] == nil {
				t.Fatalf("package %s %s has no %s", p.Name, p.Version, name)
			}
		}
	}
	return files
}
