package iso

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/iso/command"
	"github.com/bulkhead-os/bulkhead/iso/gobuild"
	"github.com/bulkhead-os/bulkhead/iso/image"
	"github.com/bulkhead-os/bulkhead/iso/layer"
)

// binaries are our programs by the layer that carries them: path → program.
var binaries = map[string]map[string]string{
	"engine": {
		"usr/bin/engine":                  "engine",
		"usr/bin/containerd-shim-runc-v2": "containerd-shim-runc-v2",
		"usr/bin/runc":                    "runc",
		"usr/bin/docker-proxy":            "docker-proxy",
	},
	"ros": {
		"usr/bin/ros":               "ros",
		"usr/lib/bulkhead/modprobe": "modprobe",
	},
}

func (b *builder) makeLayers(ctx context.Context) error {
	completion, err := b.dockerCompletion(ctx)
	if err != nil {
		return err
	}
	maker := layer.Builder{Dir: filepath.Join(b.Derived, "layers"), Archive: b.archive}
	b.layers = make(map[string]layer.Layer)
	var total int64
	for _, r := range recipes(b.shared, b.decls) {
		b.Note("%s", r.name)
		spec := layer.Spec{
			Name: r.name, Image: r.image, Packages: b.layerPkgs[r.name],
			Accounts: r.name == "base", Files: make(map[string]string),
		}
		for path, program := range binaries[r.name] {
			spec.Files[path] = b.binary(program)
		}
		if r.name == "engine" {
			spec.Files["usr/share/bash-completion/completions/docker"] = completion
		}
		own := filepath.Join(b.Repo, "images", r.name, "rootfs")
		if _, err := os.Stat(own); err == nil {
			spec.RootFS = own
		}
		if r.image.FurtherModules {
			spec.RootFS = b.kernel.Further
		}
		if b.layers[r.name], err = maker.Build(ctx, spec); err != nil {
			return err
		}
		total += b.layers[r.name].Size
	}
	b.Note("%d layers, %.1f MB", len(b.layers), float64(total)/1e6)
	return nil
}

// dockerCompletion asks the CLI for its bash completion.
func (b *builder) dockerCompletion(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, b.binary("engine"), "completion", "bash")
	cmd.Path = "/bin/true"
	cmd.Args[0] = "docker" // the name decides what the binary is
	out, err := command.Output(cmd)
	if err != nil {
		return "", err
	}
	file := filepath.Join(b.work, "docker-completion.bash")
	return file, os.WriteFile(file, out, 0o644)
}

func (b *builder) makeImages(context.Context) error {
	for _, d := range b.decls {
		var layers []layer.Layer
		for _, name := range append(d.Image.Layers, d.Name) {
			layers = append(layers, b.layers[name])
		}
		var labels map[string]string
		if d.Service.Ready != nil && d.Service.Ready.Docker != "" {
			labels = map[string]string{images.LabelEngine: gobuild.EngineVersion}
		}
		img, err := image.New(d, b.source.Version, layers, labels)
		if err != nil {
			return fmt.Errorf("image %s: %w", d.Name, err)
		}
		b.images = append(b.images, img)
	}
	if !b.Archives {
		return nil
	}
	dir := filepath.Join(b.Out, "images")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, img := range b.images {
		b.Note("%s", img.Name)
		if err := img.WriteFile(filepath.Join(dir, img.Name+".tar")); err != nil {
			return err
		}
	}
	b.Note("%d archives", len(b.images))
	return nil
}
