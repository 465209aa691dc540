// Package image writes OCI image archives as `docker load` reads them: whole
// ones, and ones without the layers that a system has mounted. They have the
// same manifest and so the same digest.
package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"

	"github.com/google/renameio/v2"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/iso/layer"
	"github.com/bulkhead-os/bulkhead/iso/tree"
)

// searchPath is the PATH of every service.
const searchPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// nameAnnotation is where containerd finds the reference of an image in an archive.
const nameAnnotation = "io.containerd.image.name"

// An Image is a service's image, complete but for writing it out.
type Image struct {
	Name, Ref string
	Layers    []layer.Layer

	config, manifest, index []byte
	manifestDesc            ocispec.Descriptor
}

// New makes the image of a declaration, with further labels. Its digest depends
// on these, the layers, the command and the version, not on when or where it
// was built.
func New(d images.Declaration, version string, layers []layer.Layer, further map[string]string) (*Image, error) {
	img := &Image{Name: d.Name, Ref: images.Ref(d.Name, version), Layers: layers}
	labels := map[string]string{
		ocispec.AnnotationTitle:    d.Name,
		ocispec.AnnotationVersion:  version,
		ocispec.AnnotationVendor:   "Bulkhead",
		ocispec.AnnotationLicenses: "NOASSERTION",
	}
	maps.Copy(labels, further)
	config := ocispec.Image{
		Created:  &tree.Epoch,
		Platform: ocispec.Platform{Architecture: "amd64", OS: "linux"},
		Config:   ocispec.ImageConfig{Cmd: d.Service.Command, Env: []string{searchPath}, Labels: labels},
		RootFS:   ocispec.RootFS{Type: "layers"},
	}
	manifest := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
	}
	for _, l := range layers {
		id := digest.NewDigestFromEncoded(digest.SHA256, l.DiffID)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, id)
		config.History = append(config.History, ocispec.History{Created: &tree.Epoch, CreatedBy: "bulkhead layer " + l.Name})
		// Uncompressed, so that the blob's digest is the diff ID.
		manifest.Layers = append(manifest.Layers, ocispec.Descriptor{
			MediaType: ocispec.MediaTypeImageLayer, Digest: id, Size: l.Size,
		})
	}
	var err error
	if img.config, err = json.Marshal(config); err != nil {
		return nil, err
	}
	manifest.Config = descriptor(ocispec.MediaTypeImageConfig, img.config)
	if img.manifest, err = json.Marshal(manifest); err != nil {
		return nil, err
	}
	img.manifestDesc = descriptor(ocispec.MediaTypeImageManifest, img.manifest)
	entry := img.manifestDesc
	entry.Platform = &config.Platform
	entry.Annotations = map[string]string{nameAnnotation: img.Ref, ocispec.AnnotationRefName: version}
	img.index, err = json.Marshal(ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{entry},
	})
	return img, err
}

func descriptor(mediaType string, raw []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
}

// IndexEntry is the image's entry in the list of shipped images.
func (img *Image) IndexEntry() images.IndexEntry {
	e := images.IndexEntry{
		Name: img.Name, Ref: img.Ref,
		Manifest: img.manifestDesc.Digest.String(), Archive: img.Name + ".tar",
	}
	for _, l := range img.Layers {
		e.DiffIDs = append(e.DiffIDs, "sha256:"+l.DiffID)
	}
	return e
}

// Bare returns the archive without layers.
func (img *Image) Bare() ([]byte, error) {
	var buf bytes.Buffer
	if err := img.write(&buf, nil); err != nil {
		return nil, fmt.Errorf("image %s: %w", img.Name, err)
	}
	return buf.Bytes(), nil
}

// WriteFile writes the whole archive.
func (img *Image) WriteFile(name string) error { return img.writeFile(name, img.Layers) }

// WriteOwn writes the archive for a system that has all layers but the topmost,
// which is the image's own.
func (img *Image) WriteOwn(name string) error {
	return img.writeFile(name, img.Layers[len(img.Layers)-1:])
}

func (img *Image) writeFile(name string, layers []layer.Layer) error {
	f, err := renameio.NewPendingFile(name, renameio.WithPermissions(0o644))
	if err != nil {
		return err
	}
	defer f.Cleanup()
	if err := img.write(f, layers); err != nil {
		return fmt.Errorf("image %s: %w", img.Name, err)
	}
	return f.CloseAtomicallyReplace()
}

func (img *Image) write(w io.Writer, layers []layer.Layer) error {
	tw := tar.NewWriter(w)
	put := func(name string, size int64, r io.Reader) error {
		h := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: size, ModTime: tree.Epoch}
		if err := tw.WriteHeader(h); err != nil {
			return err
		}
		_, err := io.Copy(tw, r)
		return err
	}
	for _, f := range []struct {
		name string
		raw  []byte
	}{
		{ocispec.ImageLayoutFile, []byte(`{"imageLayoutVersion":"` + ocispec.ImageLayoutVersion + `"}`)},
		{ocispec.ImageIndexFile, img.index},
		{blob(img.manifestDesc.Digest), img.manifest},
		{blob(digest.FromBytes(img.config)), img.config},
	} {
		if err := put(f.name, int64(len(f.raw)), bytes.NewReader(f.raw)); err != nil {
			return err
		}
	}
	for _, l := range layers {
		f, err := os.Open(l.Tar)
		if err != nil {
			return err
		}
		err = put(blob(digest.NewDigestFromEncoded(digest.SHA256, l.DiffID)), l.Size, f)
		f.Close()
		if err != nil {
			return err
		}
	}
	return tw.Close()
}

func blob(d digest.Digest) string {
	return ocispec.ImageBlobsDir + "/" + d.Algorithm().String() + "/" + d.Encoded()
}
