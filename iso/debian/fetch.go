package debian

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/bulkhead-os/bulkhead/iso/command"
)

// downloads is how many packages are fetched at a time.
const downloads = 4

// Path is where the package is once it is fetched. The name holds the hash,
// so a file that is there is right.
func (a *Archive) Path(p Package) string {
	return filepath.Join(a.dir, "debs", fmt.Sprintf("%s_%s_%s.%s.deb", p.Name, p.Version, p.Arch, p.SHA256[:16]))
}

// Fetch downloads the packages that are not there yet; each finished one is
// reported to progress, which may be called from several goroutines.
func (a *Archive) Fetch(ctx context.Context, pkgs []Package, progress func(Package)) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(downloads)
	for _, p := range pkgs {
		dst := a.Path(p)
		if _, err := os.Stat(dst); err == nil {
			continue
		}
		g.Go(func() error {
			part := dst + ".part"
			// apt-helper uses apt's own transports, proxies and credentials
			// and checks the hash.
			if err := command.Run(a.apt(ctx, "/usr/lib/apt/apt-helper", "download-file", p.URI, part, "SHA256:"+p.SHA256)); err != nil {
				return fmt.Errorf("fetch %s %s: %w", p.Name, p.Version, err)
			}
			if err := os.Rename(part, dst); err != nil {
				return err
			}
			progress(p)
			return nil
		})
	}
	return g.Wait()
}

// Walk calls fn for each file in the package at path, in archive order.
func Walk(ctx context.Context, path string, fn func(*tar.Header, io.Reader) error) error {
	cmd := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	walkErr := walkTar(tar.NewReader(out), fn)
	if walkErr != nil {
		// Ends the program early; its own complaint about that is of no interest.
		_ = out.Close()
		_ = cmd.Wait()
		return fmt.Errorf("%s: %w", filepath.Base(path), walkErr)
	}
	if _, err := io.Copy(io.Discard, out); err != nil {
		return err
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("dpkg-deb --fsys-tarfile %s: %w", path, err)
	}
	return nil
}

func walkTar(r *tar.Reader, fn func(*tar.Header, io.Reader) error) error {
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := fn(h, r); err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
	}
}

// Control returns the control file of the package at path.
func Control(ctx context.Context, path string) ([]byte, error) {
	return command.Output(exec.CommandContext(ctx, "dpkg-deb", "--field", path))
}

// Extract unpacks the package at path into dir.
func Extract(ctx context.Context, path, dir string) error {
	return command.Run(exec.CommandContext(ctx, "dpkg-deb", "--extract", path, dir))
}
