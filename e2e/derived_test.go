package e2e

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A derivedImage is a shipped image with one more layer, as an archive that has
// only this layer: system Docker has the others already.
type derivedImage struct {
	id      string
	archive []byte
}

// program is an executable file for a derived image.
type program = []byte

// shippedImage is the archive of a service's image in the OS image.
type shippedImage map[string][]byte

func (g *guest) shippedImage(t *testing.T, service string) shippedImage {
	t.Helper()
	r := g.try(t, "cat /bulkhead/images/"+service+".tar")
	if r.Exit != 0 {
		t.Fatal(r.Stderr)
	}
	files := make(shippedImage)
	for in := tar.NewReader(strings.NewReader(r.Stdout)); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err == nil {
			files[h.Name], err = io.ReadAll(in)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// blob is the file of a blob in an archive.
func blob(d digest.Digest) string { return "blobs/" + string(d.Algorithm()) + "/" + d.Encoded() }

// derive makes the image ref from a shipped one: with programs by path, and
// further labels.
func (files shippedImage) derive(t *testing.T, ref string, programs map[string]program, labels map[string]string) derivedImage {
	t.Helper()
	var index ocispec.Index
	var manifest ocispec.Manifest
	var config ocispec.Image
	decode := func(name string, into any) {
		if err := json.Unmarshal(files[name], into); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	decode("index.json", &index)
	decode(blob(index.Manifests[0].Digest), &manifest)
	decode(blob(manifest.Config.Digest), &config)

	var out bytes.Buffer
	archive := tar.NewWriter(&out)
	put := func(w *tar.Writer, name string, mode int64, content []byte) {
		err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: mode, Size: int64(len(content))})
		if err == nil {
			_, err = w.Write(content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	add := func(mediaType string, content []byte) ocispec.Descriptor {
		d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(content), Size: int64(len(content))}
		put(archive, blob(d.Digest), 0o644, content)
		return d
	}
	encode := func(v any) []byte {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	var layer bytes.Buffer
	content := tar.NewWriter(&layer)
	for _, name := range slices.Sorted(maps.Keys(programs)) {
		put(content, strings.TrimPrefix(path.Clean(name), "/"), 0o755, programs[name])
	}
	if err := content.Close(); err != nil {
		t.Fatal(err)
	}
	top := add(ocispec.MediaTypeImageLayer, layer.Bytes())
	config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, top.Digest)
	config.History = append(config.History, ocispec.History{CreatedBy: "e2e"})
	maps.Copy(config.Config.Labels, labels)
	manifest.Layers = append(manifest.Layers, top)
	manifest.Config = add(manifest.Config.MediaType, encode(config))
	entry := add(index.Manifests[0].MediaType, encode(manifest))
	entry.Annotations = map[string]string{"io.containerd.image.name": "docker.io/" + ref}
	index.Manifests = []ocispec.Descriptor{entry}
	put(archive, "oci-layout", 0o644, files["oci-layout"])
	put(archive, "index.json", 0o644, encode(index))
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	return derivedImage{id: string(entry.Digest), archive: out.Bytes()}
}

// short is the ID as people see it.
func (i derivedImage) short() string { return strings.TrimPrefix(i.id, "sha256:")[:12] }

// bring puts the archive into the guest's file system and checks that it got there.
func (g *guest) bring(t *testing.T, i derivedImage, file string) {
	t.Helper()
	sum := sha256.Sum256(i.archive)
	r := g.pipe(t, "sudo tee "+file+" | sha256sum", bytes.NewReader(i.archive))
	if want := hex.EncodeToString(sum[:]); !strings.HasPrefix(r.Stdout, want) {
		t.Fatalf("archive in the guest: %s%s; want %s", r.Stdout, r.Stderr, want)
	}
	t.Cleanup(func() { g.try(t, "sudo rm -f "+file) })
}
