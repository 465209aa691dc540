// Package layer makes image layers: one reproducible tar each, from Debian
// packages, a folder of files and what a declaration adds. It does not decide
// which packages belong to which layer.
package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/iso/debian"
	"github.com/bulkhead-os/bulkhead/iso/fingerprint"
	"github.com/bulkhead-os/bulkhead/iso/tree"
)

//go:embed exclude.list
var excludeList string

// self is the code and data that decide on a layer's content.
//
//go:embed *.go *.list passwd group
var self embed.FS

// caBundle is where every TLS library of Debian looks for authorities.
// update-ca-certificates would make it.
const caBundle = "etc/ssl/certs/ca-certificates.crt"

// A Spec is all that decides on a layer's content.
type Spec struct {
	Name  string
	Image images.Image
	// Packages are the layer's own: resolved, without those of lower layers.
	Packages []debian.Package
	// RootFS is a folder whose files are added last; empty for none.
	RootFS string
	// Files are further files: path in the layer → file on the build machine.
	Files map[string]string
	// Accounts says that the layer has account files even without users.
	Accounts bool
}

// A Layer is a finished layer.
type Layer struct {
	Name string `json:"name"`
	// DiffID is the hex SHA-256 of the tar.
	DiffID string `json:"diff_id"`
	Size   int64  `json:"size"`
	// Tar is where it is on the build machine.
	Tar string `json:"-"`
}

// A Builder makes layers and keeps them in a cache.
type Builder struct {
	// Dir is the cache.
	Dir     string
	Archive *debian.Archive
}

// Build returns the layer of a spec, from the cache when nothing changed.
func (b Builder) Build(ctx context.Context, s Spec) (Layer, error) {
	key, err := b.key(s)
	if err != nil {
		return Layer{}, fmt.Errorf("layer %s: %w", s.Name, err)
	}
	file := filepath.Join(b.Dir, s.Name+"-"+key+".tar")
	if raw, err := os.ReadFile(file + ".json"); err == nil {
		l := Layer{Tar: file}
		return l, json.Unmarshal(raw, &l)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return Layer{}, err
	}
	l, err := b.make(ctx, s, file)
	if err != nil {
		return Layer{}, fmt.Errorf("layer %s: %w", s.Name, err)
	}
	return l, nil
}

func (b Builder) make(ctx context.Context, s Spec, file string) (Layer, error) {
	t, err := b.tree(ctx, s)
	if err != nil {
		return Layer{}, err
	}
	if err := os.MkdirAll(b.Dir, 0o755); err != nil {
		return Layer{}, err
	}
	out, err := renameio.NewPendingFile(file)
	if err != nil {
		return Layer{}, err
	}
	defer out.Cleanup()
	sum := sha256.New()
	if err := t.WriteTar(io.MultiWriter(out, sum)); err != nil {
		return Layer{}, err
	}
	size, err := out.Seek(0, io.SeekCurrent)
	if err != nil {
		return Layer{}, err
	}
	if err := out.CloseAtomicallyReplace(); err != nil {
		return Layer{}, err
	}
	l := Layer{Name: s.Name, DiffID: hex.EncodeToString(sum.Sum(nil)), Size: size, Tar: file}
	raw, err := json.Marshal(l)
	if err != nil {
		return Layer{}, err
	}
	if err := renameio.WriteFile(file+".json", raw, 0o644); err != nil {
		return Layer{}, err
	}
	return l, b.prune(s.Name, file)
}

// prune removes earlier versions of the layer: the engine's alone is larger
// than a hundred megabytes.
func (b Builder) prune(name, keep string) error {
	old, err := filepath.Glob(filepath.Join(b.Dir, name+"-*.tar"))
	if err != nil {
		return err
	}
	for _, file := range old {
		// A key has 32 digits, so "a-b-<key>" is no version of the layer "a".
		if file == keep || len(file) != len(keep) {
			continue
		}
		if err := errors.Join(os.RemoveAll(file+".json"), os.RemoveAll(file)); err != nil {
			return err
		}
	}
	return nil
}

// tree puts the layer together: packages, then what is generated, then the
// declaration's links and directories, then our own files.
func (b Builder) tree(ctx context.Context, s Spec) (*tree.Tree, error) {
	t := tree.New()
	exclude := append(lines(excludeList), s.Image.Exclude...)
	var authorities bytes.Buffer
	for _, p := range s.Packages {
		err := debian.Walk(ctx, b.Archive.Path(p), func(h *tar.Header, r io.Reader) error {
			name := "/" + tree.Clean(h.Name)
			if strings.HasPrefix(name, "/usr/share/ca-certificates/") && h.Typeflag == tar.TypeReg {
				_, err := io.Copy(&authorities, r)
				return err
			}
			if excluded(exclude, name, h.Typeflag == tar.TypeDir) {
				return nil
			}
			return t.AddHeader(move(s.Image.Move, h), r)
		})
		if err != nil {
			return nil, err
		}
		// Scanners read what is installed from here when there is no dpkg.
		control, err := debian.Control(ctx, b.Archive.Path(p))
		if err != nil {
			return nil, err
		}
		if err := t.File("var/lib/dpkg/status.d/"+p.Name, 0o644, tree.Bytes(control)); err != nil {
			return nil, err
		}
	}
	if authorities.Len() > 0 {
		if err := t.File(caBundle, 0o644, tree.Bytes(authorities.Bytes())); err != nil {
			return nil, err
		}
	}
	if s.Accounts || len(s.Image.Users) > 0 {
		accounts, err := MakeAccounts(s.Image.Users)
		if err != nil {
			return nil, err
		}
		if err := accounts.Put(t); err != nil {
			return nil, err
		}
	}
	return t, addOwn(t, s)
}

// move returns the header of a file under the name that it gets, and with the
// target that got another name.
func move(prefixes map[string]string, h *tar.Header) *tar.Header {
	moved := *h
	for from, to := range prefixes {
		if rest, ok := strings.CutPrefix("/"+tree.Clean(h.Name), from); ok {
			moved.Name = to + rest
		}
		target := h.Linkname
		if !path.IsAbs(target) {
			target = path.Join("/", path.Dir(tree.Clean(h.Name)), target)
		}
		if rest, ok := strings.CutPrefix(target, from); ok && h.Typeflag == tar.TypeSymlink {
			moved.Linkname = to + rest
		}
	}
	return &moved
}

func addOwn(t *tree.Tree, s Spec) error {
	for _, p := range slices.Sorted(maps.Keys(s.Files)) {
		if err := t.HostFile(p, 0o755, s.Files[p]); err != nil {
			return err
		}
	}
	if s.RootFS != "" {
		if err := t.AddFolder("", s.RootFS); err != nil {
			return err
		}
	}
	for _, p := range slices.Sorted(maps.Keys(s.Image.Dirs)) {
		mode, err := strconv.ParseInt(s.Image.Dirs[p], 8, 64)
		if err != nil {
			return err
		}
		if err := t.Dir(p, mode); err != nil {
			return err
		}
	}
	for _, p := range slices.Sorted(maps.Keys(s.Image.Links)) {
		if err := t.Symlink(p, s.Image.Links[p]); err != nil {
			return err
		}
	}
	return nil
}

// excluded reports whether the file at name (absolute) stays out. A pattern
// that ends in a slash covers the directory and all below it.
func excluded(patterns []string, name string, isDir bool) bool {
	for _, p := range patterns {
		if strings.HasSuffix(p, "/") {
			if strings.HasPrefix(name, p) || isDir && name+"/" == p {
				return true
			}
			continue
		}
		if ok, _ := path.Match(p, name); ok {
			return true
		}
	}
	return false
}

// key is a digest of everything that decides on the layer's content.
func (b Builder) key(s Spec) (string, error) {
	code, err := fingerprint.Of(self, tree.Source)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintln(h, code)
	if err := json.NewEncoder(h).Encode(struct {
		Name     string
		Image    images.Image
		Packages []debian.Package
		Accounts bool
	}{s.Name, s.Image, s.Packages, s.Accounts}); err != nil {
		return "", err
	}
	for _, p := range slices.Sorted(maps.Keys(s.Files)) {
		if err := hashFile(h, p, s.Files[p]); err != nil {
			return "", err
		}
	}
	if s.RootFS != "" {
		own := tree.New()
		if err := own.AddFolder("", s.RootFS); err != nil {
			return "", err
		}
		if err := own.WriteTar(h); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:32], nil
}

func hashFile(w io.Writer, name, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	fmt.Fprintln(w, name)
	_, err = io.Copy(w, f)
	return err
}
