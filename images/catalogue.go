package images

import (
	"bytes"
	"embed"
	"io/fs"
	"path"
)

//go:embed catalogue/*.yml
var catalogue embed.FS

// Catalogue returns a file of services that people can enable by its name. They
// run from shipped images of this version, and so without a registry. Without
// such a file the error is fs.ErrNotExist.
func Catalogue(name, version string) ([]byte, error) {
	text, err := fs.ReadFile(catalogue, path.Join("catalogue", name+".yml"))
	return bytes.ReplaceAll(text, []byte(":VERSION"), []byte(":"+version)), err
}

// CatalogueNames are the names of all such files.
func CatalogueNames() (names []string) {
	// The pattern is right.
	files, _ := fs.Glob(catalogue, "catalogue/*.yml")
	for _, file := range files {
		names = append(names, stem(file))
	}
	return names
}
