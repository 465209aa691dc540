package iso

import (
	"context"
	"os"

	"github.com/bulkhead-os/bulkhead/images"
)

// BuildServices makes the images of the optional services: archives beside the
// artefacts, which no medium has. They are for this version of the OS, which has
// the layers that the images share.
func BuildServices(ctx context.Context, cfg Config) error {
	return cfg.build(ctx, func(b *builder) []step {
		return []step{
			{"read declarations", b.readOptional},
			{"package lists", b.refresh},
			{"resolve packages", b.resolve},
			{"fetch packages", b.fetch},
			{"build tools", b.unpackTools},
			{"compile", b.compile},
			{"kernel and modules", b.prepareKernel},
			{"layers", b.makeLayers},
			{"images", b.makeImages},
			{"archives", b.writeOptional},
		}
	})
}

func (b *builder) readOptional(ctx context.Context) (err error) {
	if err := b.readDeclarations(ctx); err != nil {
		return err
	}
	b.Archives = false
	b.decls, err = images.LoadOptional()
	return err
}

func (b *builder) writeOptional(ctx context.Context) error {
	if err := os.MkdirAll(b.artifact("services"), 0o755); err != nil {
		return err
	}
	for _, img := range b.images {
		file := b.artifact("services/" + img.Name + ".tar.zst")
		if err := b.writeCompressed(ctx, img.WriteOwn, file); err != nil {
			return err
		}
	}
	b.Note("%d archives", len(b.images))
	return nil
}
