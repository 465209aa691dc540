// Package tree is a file system tree in memory that is put together from
// several sources and written as a tar stream that depends on nothing but its
// content: sorted, one time stamp, numeric owners. It needs no privileges.
package tree

import (
	"archive/tar"
	"bytes"
	"embed"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Source is this package's code, for cache keys.
//
//go:embed *.go
var Source embed.FS

// Epoch is the time stamp of every file. A constant, because a layer must not
// get a new digest in a release that did not change it.
var Epoch = time.Date(2025, 8, 9, 0, 0, 0, 0, time.UTC)

// A Node is a file. Two paths with the same *Node are hard links.
type Node struct {
	// Type is tar.TypeReg, TypeDir or TypeSymlink.
	Type byte
	// Mode has the permission bits with set-id and sticky bits, as in stat(2).
	Mode     int64
	UID, GID int
	// Target is a symbolic link's.
	Target string
	// Content is a regular file's.
	Content Content
}

// Content is what a regular file holds.
type Content interface {
	Size() int64
	Open() (io.ReadCloser, error)
}

// Bytes is content in memory.
type Bytes []byte

// Size returns the length in bytes.
func (b Bytes) Size() int64 { return int64(len(b)) }

// Open returns a reader of the bytes.
func (b Bytes) Open() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }

// OnDisk is content in a file of the build machine.
type OnDisk struct {
	Path string
	Len  int64
}

// Size returns the length in bytes when the file was added.
func (f OnDisk) Size() int64 { return f.Len }

// Open opens the file.
func (f OnDisk) Open() (io.ReadCloser, error) { return os.Open(f.Path) }

// A Tree maps clean paths without a leading slash to nodes; the root is ".".
type Tree struct {
	nodes map[string]*Node
}

// New returns a tree with nothing but its root directory.
func New() *Tree {
	return &Tree{nodes: map[string]*Node{".": {Type: tar.TypeDir, Mode: 0o755}}}
}

// mergedLinks are the links of merged-/usr Debian that lead to directories.
var mergedLinks = map[string]bool{"bin": true, "sbin": true, "lib": true, "lib64": true, "var/run": true}

// Clean brings a path into the form that the tree uses. The directories that
// merged-/usr Debian has as links are resolved, because a few packages still
// ship files below them.
func Clean(p string) string {
	p = strings.TrimPrefix(path.Clean("/"+p), "/")
	if p == "" {
		return "."
	}
	if first, _, below := strings.Cut(p, "/"); below && mergedLinks[first] {
		return "usr/" + p
	}
	if rest, ok := strings.CutPrefix(p, "var/run/"); ok {
		return "run/" + rest
	}
	return p
}

// Put adds or replaces the node at p and makes missing parents. A directory
// that is there keeps its content and takes the new mode.
func (t *Tree) Put(p string, n *Node) error {
	p = Clean(p)
	if n.Type == tar.TypeDir && mergedLinks[p] {
		// The package is older than merged /usr; the link stays what it is.
		return nil
	}
	if p == "." && n.Type != tar.TypeDir {
		return fmt.Errorf("%s: the root is a directory", p)
	}
	for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
		switch parent, ok := t.nodes[dir]; {
		case !ok:
			t.nodes[dir] = &Node{Type: tar.TypeDir, Mode: 0o755}
		case parent.Type != tar.TypeDir:
			return fmt.Errorf("%s: %s is no directory", p, dir)
		}
	}
	if old, ok := t.nodes[p]; ok && old.Type == tar.TypeDir && n.Type != tar.TypeDir && t.hasChildren(p) {
		return fmt.Errorf("%s: is a directory with files", p)
	}
	t.nodes[p] = n
	return nil
}

func (t *Tree) hasChildren(dir string) bool {
	for p := range t.nodes {
		if strings.HasPrefix(p, dir+"/") {
			return true
		}
	}
	return false
}

// Get returns the node at p, or nil.
func (t *Tree) Get(p string) *Node { return t.nodes[Clean(p)] }

// Paths returns all paths in order.
func (t *Tree) Paths() []string { return slices.Sorted(maps.Keys(t.nodes)) }

// File adds a regular file owned by root.
func (t *Tree) File(p string, mode int64, content Content) error {
	return t.Put(p, &Node{Type: tar.TypeReg, Mode: mode, Content: content})
}

// HostFile adds a regular file with the content of a file of the build machine.
func (t *Tree) HostFile(p string, mode int64, file string) error {
	fi, err := os.Stat(file)
	if err != nil {
		return err
	}
	return t.File(p, mode, OnDisk{Path: file, Len: fi.Size()})
}

// Dir adds a directory owned by root.
func (t *Tree) Dir(p string, mode int64) error {
	return t.Put(p, &Node{Type: tar.TypeDir, Mode: mode})
}

// Symlink adds a symbolic link.
func (t *Tree) Symlink(p, target string) error {
	return t.Put(p, &Node{Type: tar.TypeSymlink, Mode: 0o777, Target: target})
}

// AddHeader adds one member of a tar archive. Hard links must follow their
// target, as they do in every archive that tar made.
func (t *Tree) AddHeader(h *tar.Header, r io.Reader) error {
	n := &Node{Type: h.Typeflag, Mode: h.Mode & 0o7777, UID: h.Uid, GID: h.Gid}
	switch h.Typeflag {
	case tar.TypeDir:
	case tar.TypeSymlink:
		n.Mode, n.Target = 0o777, h.Linkname
	case tar.TypeLink:
		if n = t.Get(h.Linkname); n == nil {
			return fmt.Errorf("hard link to %s, which is not there", h.Linkname)
		}
	case tar.TypeReg:
		raw, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		n.Content = Bytes(raw)
	default:
		return fmt.Errorf("file type %q", h.Typeflag)
	}
	return t.Put(h.Name, n)
}

// AddFolder adds what is in a folder of the build machine below at, owned by
// root. Modes are 0755 for directories and executables and else 0644: a version
// control system keeps no more than that.
func (t *Tree) AddFolder(at, dir string) error {
	return filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, file)
		if err != nil || rel == "." {
			return err
		}
		p := path.Join(at, rel)
		fi, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			if t.Get(p) != nil {
				return nil
			}
			return t.Dir(p, 0o755)
		case fi.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(file)
			if err != nil {
				return err
			}
			return t.Symlink(p, target)
		case fi.Mode().IsRegular():
			mode := int64(0o644)
			if fi.Mode()&0o100 != 0 {
				mode = 0o755
			}
			return t.HostFile(p, mode, file)
		}
		return fmt.Errorf("%s: neither file, folder nor link", file)
	})
}
