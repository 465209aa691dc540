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

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/iso/command"
	"github.com/bulkhead-os/bulkhead/iso/debian"
	"github.com/bulkhead-os/bulkhead/iso/image"
	"github.com/bulkhead-os/bulkhead/iso/layer"
)

// dockerGroup is the line of the group docker, with its id in all images. It is
// there before packages make groups of their own.
const dockerGroup = "docker:x:999:"

// BuildConsole makes the console that is a whole Debian: an archive beside the
// artefacts, which no medium has. Unlike the layers of the OS it is a system
// whose maintainer scripts have run and whose packages can be changed, so it is
// mmdebstrap that makes it.
func BuildConsole(ctx context.Context, cfg Config) error {
	return cfg.build(ctx, func(b *builder) []step {
		return []step{
			{"read declarations", b.readDeclarations},
			{"package lists", b.refresh},
			{"resolve packages", b.resolveTools},
			{"fetch packages", b.fetch},
			{"build tools", b.unpackTools},
			{"Debian", b.makeDebian},
			{"console", b.makeConsole},
		}
	})
}

// debianTar is the file system of the Debian console.
func (b *builder) debianTar() string { return filepath.Join(b.work, "debian.tar") }

func (b *builder) makeDebian(ctx context.Context) error {
	mirrors, err := debian.FindMirrors(ctx, b.Getenv)
	if err != nil {
		return err
	}
	dir := filepath.Join(b.Repo, "images", "console-debian")
	list, err := os.ReadFile(filepath.Join(dir, "packages.list"))
	if err != nil {
		return err
	}
	cmd := mirrors.Bootstrap(ctx, b.debianTar(), strings.Fields(strings.Join(debian.Lines(string(list)), " ")),
		"--essential-hook=echo "+dockerGroup+" >>\"$1\"/etc/group",
		"--customize-hook="+filepath.Join(dir, "setup")+" \"$1\" "+filepath.Dir(dir))
	cmd.Env = append(os.Environ(), fmt.Sprintf("SOURCE_DATE_EPOCH=%d", b.source.Epoch))
	if err := command.Run(cmd); err != nil {
		return err
	}
	b.noteSize(b.debianTar())
	return nil
}

func (b *builder) makeConsole(ctx context.Context) error {
	system, err := tarLayer("debian", b.debianTar())
	if err != nil {
		return err
	}
	i := slices.IndexFunc(b.decls, func(d images.Declaration) bool { return d.Name == images.Console })
	d := b.decls[i]
	d.Name = "console-debian"
	img, err := image.New(d, b.source.Version, []layer.Layer{system}, map[string]string{
		ocispec.AnnotationTitle: images.Console, images.LabelConsole: "debian", images.LabelKept: "true",
	})
	if err != nil {
		return err
	}
	file := b.artifact(d.Name + ".tar.zst")
	return b.writeCompressed(ctx, img.WriteFile, file)
}

// writeCompressed compresses an archive that write makes.
func (b *builder) writeCompressed(ctx context.Context, write func(name string) error, file string) error {
	archive := filepath.Join(b.work, "image.tar")
	if err := write(archive); err != nil {
		return err
	}
	err := b.tools.Run(ctx, "zstd", "--quiet", "--force", "--rm", "-12", "-T0", archive, "-o", file)
	if err == nil {
		b.noteSize(file)
	}
	return err
}

// tarLayer makes a layer of a tar as it is.
func tarLayer(name, file string) (layer.Layer, error) {
	f, err := os.Open(file)
	if err != nil {
		return layer.Layer{}, err
	}
	defer f.Close()
	sum := sha256.New()
	size, err := io.Copy(sum, f)
	return layer.Layer{Name: name, DiffID: hex.EncodeToString(sum.Sum(nil)), Size: size, Tar: file}, err
}
