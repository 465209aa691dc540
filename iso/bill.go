package iso

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/bulkhead-os/bulkhead/iso/command"
	"github.com/bulkhead-os/bulkhead/iso/debian"
	"github.com/bulkhead-os/bulkhead/iso/gobuild"
	"github.com/bulkhead-os/bulkhead/iso/sbom"
)

const module = "github.com/bulkhead-os/bulkhead"

// linkedStatically are packages of the build machine that are part of runc.
var linkedStatically = []string{"libc6-dev", "libseccomp-dev"}

// makeSBOM writes the bill of materials.
func (b *builder) makeSBOM(ctx context.Context) error {
	doc := sbom.Document{
		Name: "bulkhead", Version: b.source.Version, Epoch: b.source.Epoch,
		Namespace: "https://" + module + "/sbom/" + b.source.Version + "/" + b.source.Commit,
	}
	comments := make(map[string][]string)
	for name, pkgs := range b.layerPkgs {
		for _, p := range pkgs {
			comments[p.Name] = append(comments[p.Name], name)
		}
	}
	add := func(p debian.Package, comment string) error {
		license, err := b.license(ctx, p)
		if err != nil {
			return fmt.Errorf("licence of %s: %w", p.Name, err)
		}
		doc.Components = append(doc.Components, sbom.DebianComponent(p, license, comment))
		return nil
	}
	for _, p := range b.imagePackages() {
		comment := "kernel and modules"
		if layers := comments[p.Name]; len(layers) > 0 {
			slices.Sort(layers)
			comment = "in layer " + strings.Join(layers, ", ")
		}
		if err := add(p, comment); err != nil {
			return err
		}
	}
	for _, p := range b.toolPkgs {
		if strings.HasPrefix(p.Name, "grub-") || strings.HasPrefix(p.Name, "shim-") {
			if err := add(p, "boot loader"); err != nil {
				return err
			}
		}
	}
	host, err := hostComponents(ctx)
	if err != nil {
		return err
	}
	modules, err := b.goComponents(ctx)
	if err != nil {
		return err
	}
	doc.Components = slices.Concat(doc.Components, host, modules)
	b.Note("%d packages, %d Go modules", len(doc.Components)-len(modules), len(modules))

	f, err := renameio.NewPendingFile(b.artifact("sbom.spdx.json"), renameio.WithPermissions(0o644))
	if err != nil {
		return err
	}
	defer f.Cleanup()
	if err := sbom.Write(f, doc); err != nil {
		return err
	}
	return f.CloseAtomicallyReplace()
}

// license remembers what a package file says, which never changes.
func (b *builder) license(ctx context.Context, p debian.Package) (string, error) {
	code, err := sbom.Fingerprint()
	if err != nil {
		return "", err
	}
	memo := filepath.Join(b.Derived, "licences", code[:16], p.SHA256)
	if raw, err := os.ReadFile(memo); err == nil {
		return string(raw), nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	b.Note("%s", p.Name)
	license, err := sbom.DebianLicense(ctx, b.archive.Path(p), p.Name)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(memo), 0o755); err != nil {
		return "", err
	}
	return license, os.WriteFile(memo, []byte(license), 0o644)
}

func (b *builder) goComponents(ctx context.Context) ([]sbom.Component, error) {
	cmd := exec.CommandContext(ctx, "go", "env", "GOMODCACHE")
	out, err := command.Output(cmd)
	if err != nil {
		return nil, err
	}
	programs, err := gobuild.Programs(b.modules, b.source.Version, b.source.Epoch)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, p := range programs {
		files = append(files, b.binary(p.Name))
	}
	return sbom.GoComponents(files, strings.TrimSpace(string(out)), module)
}

// hostComponents are the C libraries of the build machine that runc carries.
func hostComponents(ctx context.Context) ([]sbom.Component, error) {
	args := append([]string{"-W", "-f", "${Package} ${Version} ${Architecture}\n"}, linkedStatically...)
	out, err := command.Output(exec.CommandContext(ctx, "dpkg-query", args...))
	if err != nil {
		return nil, err
	}
	var list []sbom.Component
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) != 3 {
			return nil, fmt.Errorf("dpkg-query: %q", line)
		}
		c := sbom.DebianComponent(debian.Package{Name: f[0], Version: f[1], Arch: f[2]}, "", "of the build machine, linked into runc")
		if raw, err := os.ReadFile(filepath.Join("/usr/share/doc", f[0], "copyright")); err == nil {
			c.License = sbom.CopyrightLicense(string(raw))
		}
		list = append(list, c)
	}
	return list, nil
}
