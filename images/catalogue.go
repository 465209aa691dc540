package images

import (
	"bytes"
	"embed"
	"io/fs"
	"path"

	"go.yaml.in/yaml/v3"
)

//go:embed catalogue/*.yml
var catalogue embed.FS

// builtIn are names of services elsewhere, and in earlier versions, whose work
// is part of the OS here, with the command that does it.
var builtIn = map[string]string{
	"docker-compose": "docker compose",
	"buildx":         "docker buildx",
}

// BuiltIn returns the command of the OS that makes a service needless, or "".
func BuiltIn(name string) string { return builtIn[name] }

// Catalogue returns a file of services that people can enable by its name. They
// run from shipped images of this version, and so without a registry. Without
// such a file the error is fs.ErrNotExist. The file of what is built in has no
// service: a configuration that enables it is none the worse.
func Catalogue(name, version string) ([]byte, error) {
	if builtIn[name] != "" {
		return nil, nil
	}
	text, err := fs.ReadFile(catalogue, path.Join("catalogue", name+".yml"))
	return bytes.ReplaceAll(text, []byte(":VERSION"), []byte(":"+version)), err
}

// CatalogueReasons says, per privilege, why a service of the catalogue needs it,
// as Service.Reason does of OS services. It is nil for a name of no such file.
func CatalogueReasons(name string) map[string]string {
	var file struct {
		Reason map[string]string `yaml:"x-reason"`
	}
	text, err := fs.ReadFile(catalogue, path.Join("catalogue", name+".yml"))
	if err != nil || yaml.Unmarshal(text, &file) != nil { // a test reads each file
		return nil
	}
	return file.Reason
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
