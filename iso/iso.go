// Package iso builds the OS: packages and programs into layers, layers into
// images and the root image, and those into the media of dist/artifacts. It
// decides nothing about the running system.
package iso

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/iso/apparmor"
	"github.com/bulkhead-os/bulkhead/iso/debian"
	"github.com/bulkhead-os/bulkhead/iso/gobuild"
	"github.com/bulkhead-os/bulkhead/iso/image"
	"github.com/bulkhead-os/bulkhead/iso/initramfs"
	"github.com/bulkhead-os/bulkhead/iso/isofs"
	"github.com/bulkhead-os/bulkhead/iso/kernel"
	"github.com/bulkhead-os/bulkhead/iso/layer"
	"github.com/bulkhead-os/bulkhead/iso/loader"
	"github.com/bulkhead-os/bulkhead/iso/rootfs"
	"github.com/bulkhead-os/bulkhead/iso/tools"
)

// kernelPackage pulls in Debian's current kernel of the suite.
const kernelPackage = "linux-image-amd64"

// isoName is the artefact that is burnt, copied to a stick and upgraded from.
const isoName = "bulkhead-amd64.iso"

// Config says what to build, and how.
type Config struct {
	// Repo is the source tree, Out the folder for artifacts/ and images/.
	Repo, Out string
	// Packages keeps what was fetched, Derived what was made from it. A
	// fresh Derived is a build from scratch.
	Packages, Derived string
	// MaxListAge is how old package lists may be before they are fetched again.
	MaxListAge time.Duration
	// ReleaseKeys is a file of the public keys that releases are signed with, for
	// the image to know; empty for none.
	ReleaseKeys string
	// SigningKey is the file of the secret key that Release signs with.
	SigningKey string
	// Archives asks for whole image archives in Out/images.
	Archives bool
	// Compression is the root image's.
	Compression rootfs.Compression
	Log         io.Writer
	Getenv      func(string) string
}

// builder carries results from step to step.
type builder struct {
	Config
	*progress
	// work is for what is only needed meanwhile; it stays when a step fails.
	work string

	source  source
	decls   []images.Declaration
	shared  map[string]images.Image
	archive *debian.Archive
	tools   *tools.Tools
	kernel  *kernel.Kernel

	modules    map[string]gobuild.Module
	layerPkgs  map[string][]debian.Package
	toolPkgs   []debian.Package
	kernelPkg  debian.Package
	layers     map[string]layer.Layer
	images     []*image.Image
	loader     map[string]string
	policy     string
	rootImage  string
	bootInitrd string
	// release are the files of the release, by their paths.
	release map[string]string
}

// Build makes everything in Out.
func Build(ctx context.Context, cfg Config) error {
	return cfg.build(ctx, func(b *builder) []step {
		return []step{
			{"read declarations", b.readDeclarations},
			{"package lists", b.refresh},
			{"resolve packages", b.resolve},
			{"fetch packages", b.fetch},
			{"build tools", b.unpackTools},
			{"compile", b.compile},
			{"kernel and modules", b.prepareKernel},
			{"layers", b.makeLayers},
			{"images", b.makeImages},
			{"boot loader", b.makeLoader},
			{"AppArmor policy", b.makePolicy},
			{"root image", b.makeRoot},
			{"initramfs", b.makeInitramfs},
			{"manifest", b.describe},
			{"ISO", b.makeISO},
			{"netboot files", b.makeNetboot},
			{"bill of materials", b.makeSBOM},
			{"checksums", b.checksums},
		}
	})
}

// MachineTools brings the programs that start virtual machines and returns the
// folder that has them as commands (tools.Tools.Commands).
func MachineTools(ctx context.Context, cfg Config) (commands string, err error) {
	cfg.Out = filepath.Join(cfg.Derived, "tools") // a failed build keeps its work folder
	err = cfg.build(ctx, func(b *builder) []step {
		b.brief = true
		return []step{
			{"package lists", b.refresh},
			{"resolve packages", b.resolveMachine},
			{"fetch packages", b.fetch},
			{"unpack the emulator", func(ctx context.Context) error {
				err := b.unpackTools(ctx)
				if err == nil {
					commands = b.tools.Commands()
				}
				return err
			}},
		}
	})
	return commands, err
}

// build takes the steps, while no other build does.
func (cfg Config) build(ctx context.Context, steps func(*builder) []step) error {
	b := &builder{Config: cfg, progress: newProgress(cfg.Log), work: filepath.Join(cfg.Out, "work")}
	unlock, err := b.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := run(ctx, steps(b), b.progress); err != nil {
		return fmt.Errorf("%w\nwork folder kept: %s", err, b.work)
	}
	return os.RemoveAll(b.work)
}

func (b *builder) readDeclarations(ctx context.Context) (err error) {
	if b.source, err = readSource(ctx, b.Repo, b.Getenv); err != nil {
		return err
	}
	if b.decls, err = images.Load(); err != nil {
		return err
	}
	if b.shared, err = images.LoadLayers(); err != nil {
		return err
	}
	if err := os.RemoveAll(b.work); err != nil {
		return err
	}
	for _, dir := range []string{b.work, b.artifact(""), filepath.Join(b.Derived, "bin"), b.Packages} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	b.Note("%s, commit %s, %d services", b.source.Version, b.source.Commit, len(b.decls))
	return nil
}

func (b *builder) artifact(name string) string { return filepath.Join(b.Out, "artifacts", name) }

func (b *builder) refresh(ctx context.Context) (err error) {
	b.archive, err = debian.Open(ctx, b.Packages, b.MaxListAge, b.Getenv)
	return err
}

func (b *builder) resolve(ctx context.Context) error {
	if err := b.resolveLayers(ctx); err != nil {
		return err
	}
	if err := b.resolveTools(ctx); err != nil {
		return err
	}
	if err := b.resolveKernel(ctx); err != nil {
		return err
	}
	b.Note("%d packages, kernel %s", len(b.imagePackages()), b.kernelPkg.Version)
	return nil
}

func (b *builder) resolveKernel(ctx context.Context) error {
	pkgs, err := b.archive.Resolve(ctx, []string{kernelPackage})
	if err != nil {
		return err
	}
	i := slices.IndexFunc(pkgs, func(p debian.Package) bool {
		return strings.HasPrefix(p.Name, "linux-image-") && p.Name != kernelPackage
	})
	if i < 0 {
		return fmt.Errorf("%s depends on no linux-image package", kernelPackage)
	}
	b.kernelPkg = pkgs[i]
	return nil
}

func (b *builder) resolveLayers(ctx context.Context) error {
	b.layerPkgs = make(map[string][]debian.Package)
	for _, r := range recipes(b.shared, b.decls) {
		wanted := r.wanted(b.shared)
		if len(wanted) == 0 {
			continue
		}
		b.Note("%s", r.name)
		pkgs, err := b.archive.Resolve(ctx, wanted)
		if err != nil {
			return fmt.Errorf("layer %s: %w", r.name, err)
		}
		var lower [][]debian.Package
		for _, l := range r.image.Layers {
			lower = append(lower, b.layerPkgs[l])
		}
		if b.layerPkgs[r.name], err = subtract(r.name, pkgs, lower...); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) resolveTools(ctx context.Context) (err error) {
	b.toolPkgs, err = b.archive.Resolve(ctx, tools.Build())
	return err
}

func (b *builder) resolveMachine(ctx context.Context) (err error) {
	b.toolPkgs, err = b.archive.Resolve(ctx, tools.Machine())
	return err
}

// imagePackages are the packages that are on the medium.
func (b *builder) imagePackages() []debian.Package {
	var lists [][]debian.Package
	if b.kernelPkg.Name != "" {
		lists = append(lists, []debian.Package{b.kernelPkg})
	}
	for _, l := range b.layerPkgs {
		lists = append(lists, l)
	}
	return union(lists...)
}

func (b *builder) fetch(ctx context.Context) error {
	pkgs := union(b.imagePackages(), b.toolPkgs)
	err := b.archive.Fetch(ctx, pkgs, func(p debian.Package) {
		b.Note("%s, %.1f MB", p.Name, float64(p.Size)/1e6)
	})
	if err == nil {
		b.Note("%d packages", len(pkgs))
	}
	return err
}

func (b *builder) unpackTools(ctx context.Context) (err error) {
	env := []string{fmt.Sprintf("SOURCE_DATE_EPOCH=%d", b.source.Epoch)}
	b.tools, err = tools.New(ctx, filepath.Join(b.Derived, "tools"), b.archive, b.toolPkgs, env)
	return err
}

func (b *builder) binary(name string) string { return filepath.Join(b.Derived, "bin", name) }

func (b *builder) compile(ctx context.Context) (err error) {
	if b.modules, err = gobuild.Modules(ctx, b.Repo); err != nil {
		return err
	}
	programs, err := gobuild.Programs(b.modules, b.source.Version, b.source.Epoch)
	if err != nil {
		return err
	}
	for _, p := range programs {
		b.Note("%s", p.Name)
		if err := gobuild.Build(ctx, b.Repo, filepath.Join(b.Derived, "bin"), p); err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
	}
	b.Note("%d programs", len(programs))
	return nil
}

func (b *builder) prepareKernel(ctx context.Context) (err error) {
	b.kernel, err = kernel.Prepare(ctx, filepath.Join(b.Derived, "kernel", b.Compression.Name), b.archive, b.kernelPkg, b.Compression.Modules, b.tools)
	return err
}

func (b *builder) makeLoader(ctx context.Context) (err error) {
	b.loader, err = loader.Make(ctx, b.tools, filepath.Join(b.work, "loader"))
	return err
}

// makePolicy compiles the profiles of containers.
func (b *builder) makePolicy(ctx context.Context) error {
	b.policy = filepath.Join(b.work, "apparmor")
	err := apparmor.Make(ctx, b.Repo, b.policy, b.tools)
	if info, statErr := os.Stat(b.policy); err == nil && statErr == nil {
		b.Note("%d profiles, %.1f KB", 1+len(images.Profiles()), float64(info.Size())/1e3)
	}
	return err
}

// makeRoot makes the root image, or takes the one that was made from the same
// tree.
func (b *builder) makeRoot(ctx context.Context) (err error) {
	if err := b.checkKeys(); err != nil {
		return err
	}
	content := rootfs.Content{
		Compression: b.Compression,
		Version:     b.source.Version, Commit: b.source.Commit,
		Layers: b.layers, Images: b.images, Kernel: b.kernel, Loader: b.loader, Policy: b.policy, ReleaseKeys: b.ReleaseKeys, Users: allUsers(b.decls),
	}
	b.rootImage, err = rootfs.Make(ctx, content, b.tools, b.work, filepath.Join(b.Derived, "root"))
	if err == nil {
		b.noteSize(b.rootImage)
	}
	return err
}

func (b *builder) makeInitramfs(ctx context.Context) error {
	b.bootInitrd = filepath.Join(b.work, "initrd")
	err := initramfs.Write(ctx, b.bootInitrd, filepath.Join(b.Derived, "initramfs"), b.binary("init"), b.rootImage, b.kernel, b.tools)
	if err == nil {
		b.noteSize(b.bootInitrd)
	}
	return err
}

func (b *builder) makeISO(ctx context.Context) error {
	m := isofs.Medium{Version: b.source.Version, Epoch: b.source.Epoch, Files: b.release}
	// Appears whole or not at all: scripts/run boots what it finds there.
	part := filepath.Join(b.work, "bulkhead.iso")
	if err := isofs.Write(ctx, m, b.tools, b.work, part); err != nil {
		return err
	}
	b.noteSize(part)
	return os.Rename(part, b.artifact(isoName))
}

func (b *builder) makeNetboot(context.Context) error {
	if err := copyFile(b.artifact("vmlinuz"), b.kernel.Image); err != nil {
		return err
	}
	file := b.artifact("initrd")
	if err := initramfs.WriteNetboot(file, b.release); err != nil {
		return err
	}
	b.noteSize(file)
	return nil
}

func (b *builder) noteSize(file string) {
	if fi, err := os.Stat(file); err == nil {
		b.Note("%.1f MB", float64(fi.Size())/1e6)
	}
}

// checksums writes SHA256SUMS in the form of sha256sum.
func (b *builder) checksums(context.Context) error {
	return writeSums(b.artifact(""), append([]string{isoName}, others...))
}

// writeSums writes the SHA256SUMS of files in dir.
func writeSums(dir string, names []string) error {
	var sums strings.Builder
	for _, name := range names {
		sum, err := fileHash(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%s  %s\n", sum, name)
	}
	return os.WriteFile(filepath.Join(dir, "SHA256SUMS"), []byte(sums.String()), 0o644)
}

func fileHash(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func copyFile(dst, src string) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(dst)
	if err != nil {
		return err
	}
	defer out.Close()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Close()
}
