package images

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// sharedLayers are the layer.yml files of the layers that several images
// share. Order has no meaning here; an image names its layers lowest first.
//
//go:embed */layer.yml
var sharedLayers embed.FS

// Load returns every declaration, sorted by name. The error joins all
// mistakes, each with its file.
func Load() ([]Declaration, error) { return load(Declarations) }

func load(fsys fs.FS) ([]Declaration, error) {
	files, err := fs.Glob(fsys, "*/service.yml")
	if err != nil {
		return nil, err
	}
	var decls []Declaration
	var errs []error
	for _, file := range files {
		d := Declaration{Name: path.Dir(file)}
		if err := decode(fsys, file, &d); err != nil {
			errs = append(errs, err)
			continue
		}
		d.Service.Healthcheck.setDefaults()
		decls = append(decls, d)
	}
	errs = append(errs, validate(decls)...)
	return decls, errors.Join(errs...)
}

// ReadIndex reads the list of the shipped images.
func ReadIndex(file string) (Index, error) {
	var index Index
	text, err := os.ReadFile(file)
	if err != nil {
		return index, err
	}
	if err := json.Unmarshal(text, &index); err != nil {
		return index, fmt.Errorf("%s: %w", file, err)
	}
	return index, nil
}

// optional are the images of the services in the catalogue that are not on the
// medium.
//
//go:embed optional/*.yml
var optional embed.FS

// LoadOptional returns what the optional images are made of, sorted by name.
// How they run is in the catalogue.
func LoadOptional() ([]Declaration, error) {
	byName, err := loadImages(optional, "optional/*.yml", stem)
	var decls []Declaration
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		decls = append(decls, Declaration{Name: name, Image: byName[name]})
	}
	return decls, err
}

// stem is a file's name without folder and .yml.
func stem(file string) string { return strings.TrimSuffix(path.Base(file), ".yml") }

// IsOptional reports whether the image of a service in the catalogue is not on
// the medium.
func IsOptional(name string) bool {
	_, err := fs.Stat(optional, "optional/"+name+".yml")
	return err == nil
}

// LoadLayers returns the content of the shared layers by name. A shared layer
// is an Image of its own: its Layers are those whose packages it may rely on.
func LoadLayers() (map[string]Image, error) { return loadLayers(sharedLayers) }

func loadLayers(fsys fs.FS) (map[string]Image, error) {
	return loadImages(fsys, "*/layer.yml", path.Dir)
}

// loadImages returns the images that files declare by their names, which name
// makes of the files'.
func loadImages(fsys fs.FS, pattern string, name func(file string) string) (map[string]Image, error) {
	files, err := fs.Glob(fsys, pattern)
	if err != nil {
		return nil, err
	}
	byName := make(map[string]Image)
	var errs []error
	for _, file := range files {
		var img Image
		if err := decode(fsys, file, &img); err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, prefix(file, img.validate())...)
		byName[name(file)] = img
	}
	return byName, errors.Join(errs...)
}

// decode reads exactly one YAML document without unknown keys.
func decode(fsys fs.FS, file string, into any) error {
	raw, err := fs.ReadFile(fsys, file)
	if err != nil {
		return err
	}
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	dec.KnownFields(true)
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: more than one YAML document", file)
	}
	return nil
}

// UnmarshalYAML reads "1m30s"; a bare number has no unit and is refused.
func (d *Duration) UnmarshalYAML(n *yaml.Node) error {
	v, err := time.ParseDuration(n.Value)
	if err != nil {
		return fmt.Errorf("line %d: %w", n.Line, err)
	}
	if v < 0 {
		return fmt.Errorf("line %d: negative duration %s", n.Line, n.Value)
	}
	*d = Duration(v)
	return nil
}

// LayerOrder returns the shared layers that an image may name, in the order
// in which they are stacked, lowest first.
func LayerOrder() []string { return []string{"base", "engine", "ros"} }

func prefix(file string, errs []error) []error {
	out := slices.Clone(errs)
	for i, err := range out {
		out[i] = fmt.Errorf("%s: %w", file, err)
	}
	return out
}
