package iso

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/release"
	"github.com/bulkhead-os/bulkhead/iso/isofs"
	"github.com/bulkhead-os/bulkhead/iso/loader"
)

// arch is what the OS is built for.
const arch = "amd64"

// checkKeys reads the public keys that the image will know.
func (b *builder) checkKeys() error {
	if b.ReleaseKeys == "" {
		return nil
	}
	text, err := os.ReadFile(b.ReleaseKeys)
	if err != nil {
		return err
	}
	keys, err := release.ParseKeys(text)
	if err == nil && len(keys) == 0 {
		err = errors.New("it has no key")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", b.ReleaseKeys, err)
	}
	return nil
}

// describe writes the manifest of the system that was built.
func (b *builder) describe(context.Context) error {
	slot, err := loader.SlotConfig(b.source.Version)
	if err != nil {
		return err
	}
	slotFile := filepath.Join(b.work, "slot.cfg")
	if err := os.WriteFile(slotFile, slot, 0o644); err != nil {
		return err
	}
	b.release = map[string]string{
		layout.KernelFile: b.kernel.Image, layout.InitramfsFile: b.bootInitrd,
		layout.RootImage: b.rootImage, layout.SlotConfig: slotFile,
	}
	m := release.Manifest{Version: b.source.Version, Serial: b.source.Epoch, Arch: arch, KernelLine: loader.KernelLine}
	if m, err = m.Describe(func(path string) string { return b.release[path] }); err != nil {
		return err
	}
	text, err := m.Encode()
	if err != nil {
		return err
	}
	b.release[layout.ReleaseFile] = filepath.Join(b.work, layout.ReleaseFile)
	return os.WriteFile(b.release[layout.ReleaseFile], text, 0o644)
}

// Release makes the folder of a release from what was built: Out/release/VERSION.
func Release(ctx context.Context, cfg Config) error {
	var folder string
	err := cfg.build(ctx, func(b *builder) []step {
		r := releaser{builder: b}
		return []step{
			{"package lists", b.refresh},
			{"resolve packages", b.resolveTools},
			{"fetch packages", b.fetch},
			{"build tools", b.unpackTools},
			{"unpack the ISO", r.unpack},
			{"check and sign", r.sign},
			{"ISO", r.makeISO},
			{"other files", r.copyOthers},
			{"checksums", func(ctx context.Context) error {
				folder = r.folder
				return r.checksums(ctx)
			}},
		}
	})
	if err == nil {
		fmt.Fprintln(cfg.Log, folder)
	}
	return err
}

// releaser makes a release of what a builder has built.
type releaser struct {
	*builder
	folder   string
	manifest release.Manifest
}

// unpack takes the files of the system from the ISO.
func (r *releaser) unpack(ctx context.Context) error {
	tree := filepath.Join(r.work, "tree")
	if err := errors.Join(os.RemoveAll(r.work), os.MkdirAll(r.work, 0o755)); err != nil {
		return err
	}
	iso := r.artifact(isoName)
	if _, err := os.Stat(iso); err != nil {
		return fmt.Errorf("%w: build first, by ./build.sh", err)
	}
	if err := r.tools.Run(ctx, "xorriso", "-osirrox", "on", "-indev", iso, "-extract", "/", tree); err != nil {
		return err
	}
	look, err := release.Look(ctx, release.Folder(tree))
	if err != nil {
		return err
	}
	r.manifest = look.Manifest
	r.folder = filepath.Join(r.Out, "release", r.manifest.Version)
	if err := errors.Join(os.RemoveAll(r.folder), os.MkdirAll(r.folder, 0o755)); err != nil {
		return err
	}
	r.release = make(map[string]string)
	for _, path := range append(release.Needed(), layout.ReleaseFile) {
		r.release[path] = filepath.Join(r.folder, path)
		if err := os.MkdirAll(filepath.Dir(r.release[path]), 0o755); err != nil {
			return err
		}
		if err := copyFile(r.release[path], filepath.Join(tree, path)); err != nil {
			return err
		}
	}
	return nil
}

// sign makes sure that the manifest is that of the files, and signs it if there
// is a key.
func (r *releaser) sign(context.Context) error {
	text, err := os.ReadFile(r.release[layout.ReleaseFile])
	if err != nil {
		return err
	}
	again, err := r.manifest.Describe(func(path string) string { return r.release[path] })
	if err != nil {
		return err
	}
	if !slices.Equal(again.Files, r.manifest.Files) {
		return fmt.Errorf("%s is not of the files on the ISO", layout.ReleaseFile)
	}
	if r.SigningKey == "" {
		r.Note("no key: the release is not signed")
		return nil
	}
	secret, err := os.ReadFile(r.SigningKey)
	if err != nil {
		return err
	}
	key, err := release.PrivateKey(secret)
	if err != nil {
		return fmt.Errorf("%s: %w", r.SigningKey, err)
	}
	file := filepath.Join(r.folder, layout.ReleaseSignature)
	r.release[layout.ReleaseSignature] = file
	return os.WriteFile(file, release.Sign(r.manifest, text, key), 0o644)
}

// makeISO makes the ISO again, with the signature on it.
func (r *releaser) makeISO(ctx context.Context) error {
	m := isofs.Medium{Version: r.manifest.Version, Epoch: r.manifest.Serial, Files: r.release}
	return isofs.Write(ctx, m, r.tools, r.work, filepath.Join(r.folder, isoName))
}

// others are what else is on a release page: for network boots, and what is in
// the release.
var others = []string{"initrd", "sbom.spdx.json", "vmlinuz"}

func (r *releaser) copyOthers(context.Context) error {
	for _, name := range others {
		if err := copyFile(filepath.Join(r.folder, name), r.artifact(name)); err != nil {
			return err
		}
	}
	return nil
}

func (r *releaser) checksums(context.Context) error {
	names := append([]string{isoName}, others...)
	for path := range r.release {
		names = append(names, path)
	}
	slices.Sort(names)
	return writeSums(r.folder, names)
}
