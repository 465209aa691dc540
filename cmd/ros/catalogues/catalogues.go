// Package catalogues has the catalogues of services that the configuration names
// under rancher.repositories: signed files from elsewhere, kept on the machine.
//
// A catalogue is one YAML file. Beside it, at its address with .minisig behind,
// is its signature, as minisign(1) makes it:
//
//	serial: 7
//	entries:
//	  web:
//	    description: a web server
//	    services:
//	      web: {image: 'docker.io/library/nginx@sha256:…', restart: always}
package catalogues

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"aead.dev/minisign"
	"go.yaml.in/yaml/v3"

	osconfig "github.com/bulkhead-os/bulkhead/os-config"
	"github.com/bulkhead-os/bulkhead/os-config/conffile"
)

// SignatureSuffix is what the address of a catalogue's signature ends with.
const SignatureSuffix = ".minisig"

// A Catalogue is a list of services to choose from.
type Catalogue struct {
	// Serial grows with each change. One with a smaller number is not taken any
	// more, so that nobody can bring back what was withdrawn.
	Serial  uint64           `yaml:"serial"`
	Entries map[string]Entry `yaml:"entries"`
}

// An Entry is what is enabled at once.
type Entry struct {
	Description string `yaml:"description"`
	// Services is in Compose's notation.
	Services map[string]yaml.Node `yaml:"services"`
}

// Text is the file of services that the entry is.
func (e Entry) Text() ([]byte, error) { return yaml.Marshal(e.Services) }

// pinned is a reference that always means the same image.
var pinned = regexp.MustCompile(`@sha256:[0-9a-f]{64}$`)

// Open checks that a catalogue is signed with a key, and returns it.
func Open(text, signature []byte, key osconfig.SigningKey) (Catalogue, error) {
	var public minisign.PublicKey
	if err := public.UnmarshalText([]byte(key)); err != nil {
		return Catalogue{}, fmt.Errorf("public_key: %w", err)
	}
	if !minisign.Verify(public, text, signature) {
		return Catalogue{}, errors.New("it is not signed with public_key")
	}
	var c Catalogue
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&c); err != nil {
		return Catalogue{}, err
	}
	for _, name := range slices.Sorted(maps.Keys(c.Entries)) {
		for service, node := range c.Entries[name].Services {
			var has struct{ Image string }
			if err := node.Decode(&has); err != nil {
				return Catalogue{}, fmt.Errorf("%s: service %s: %w", name, service, err)
			}
			if !pinned.MatchString(has.Image) {
				return Catalogue{}, fmt.Errorf("%s: service %s: image %q is not pinned: want …@sha256:…", name, service, has.Image)
			}
		}
	}
	return c, nil
}

// kept is the file of a catalogue on the machine: one, so that text and
// signature always belong together.
type kept struct {
	Text      string `json:"text"`
	Signature string `json:"signature"`
}

// A Store is the folder of the catalogues on the machine.
type Store string

func (s Store) file(name string) string {
	return filepath.Join(string(s), url.PathEscape(name)+".json")
}

// Get returns the catalogue of a repository as it was when it was refreshed
// last. What has been changed since, or is signed with another key than that of
// the configuration now, is an error; what was never there is fs.ErrNotExist.
func (s Store) Get(name string, r osconfig.Repository) (Catalogue, error) {
	text, err := os.ReadFile(s.file(name))
	if err != nil {
		return Catalogue{}, err
	}
	var k kept
	if err := json.Unmarshal(text, &k); err != nil {
		return Catalogue{}, fmt.Errorf("%s: %w", s.file(name), err)
	}
	c, err := Open([]byte(k.Text), []byte(k.Signature), r.PublicKey)
	if err != nil {
		return c, fmt.Errorf("catalogue %s: %w", name, err)
	}
	return c, nil
}

// Refresh gets the catalogue of a repository with download and keeps it.
func (s Store) Refresh(ctx context.Context, name string, r osconfig.Repository, download func(context.Context, string) ([]byte, error)) (Catalogue, error) {
	c, err := s.refresh(ctx, name, r, download)
	if err != nil {
		return c, fmt.Errorf("catalogue %s: %w", name, err)
	}
	return c, nil
}

func (s Store) refresh(ctx context.Context, name string, r osconfig.Repository, download func(context.Context, string) ([]byte, error)) (Catalogue, error) {
	if r.URL == "" || r.PublicKey == "" {
		return Catalogue{}, fmt.Errorf("rancher.repositories.%s: expected url and public_key", name)
	}
	text, err := download(ctx, string(r.URL))
	if err != nil {
		return Catalogue{}, err
	}
	signature, err := download(ctx, string(r.URL)+SignatureSuffix)
	if err != nil {
		return Catalogue{}, fmt.Errorf("signature: %w", err)
	}
	c, err := Open(text, signature, r.PublicKey)
	if err != nil {
		return c, err
	}
	// One that cannot be read any more, or is of another key, has no say.
	if before, err := s.Get(name, r); err == nil && c.Serial < before.Serial {
		return c, fmt.Errorf("older than the stored catalogue (serial %d < %d)", c.Serial, before.Serial)
	}
	file, err := json.Marshal(kept{Text: string(text), Signature: string(signature)})
	if err != nil {
		return c, err
	}
	return c, conffile.Write(s.file(name), file)
}

// Find returns the file of services of an entry, from the first repository by
// name that has it. Without one the error is what is wrong with repositories, or
// else fs.ErrNotExist.
func (s Store) Find(entry string, repositories map[string]osconfig.Repository) ([]byte, error) {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(repositories)) {
		c, err := s.Get(name, repositories[name])
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		if e, has := c.Entries[entry]; has {
			return e.Text()
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return nil, fs.ErrNotExist
}
