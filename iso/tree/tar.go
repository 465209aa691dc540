package tree

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
)

// WriteTar writes the tree as a complete tar archive.
func (t *Tree) WriteTar(w io.Writer) error {
	tw := tar.NewWriter(w)
	if err := t.AppendTar(tw); err != nil {
		return err
	}
	return tw.Close()
}

// AppendTar writes the tree's members to an archive that has more to come.
func (t *Tree) AppendTar(tw *tar.Writer) error {
	first := make(map[*Node]string)
	for _, p := range t.Paths() {
		n := t.nodes[p]
		h := &tar.Header{Name: p, Typeflag: n.Type, Mode: n.Mode, Uid: n.UID, Gid: n.GID, ModTime: Epoch}
		switch n.Type {
		case tar.TypeDir:
			h.Name += "/"
		case tar.TypeSymlink:
			h.Linkname = n.Target
		case tar.TypeReg:
			if to, ok := first[n]; ok {
				h.Typeflag, h.Linkname = tar.TypeLink, to
				break
			}
			first[n] = p
			h.Size = n.Content.Size()
		}
		if err := writeMember(tw, h, n); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	return nil
}

func writeMember(tw *tar.Writer, h *tar.Header, n *Node) error {
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	if h.Typeflag != tar.TypeReg {
		return nil
	}
	r, err := n.Content.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(tw, r)
	return err
}

// CopyTar copies the members of the tar file to tw, each below the directory
// dir.
func CopyTar(tw *tar.Writer, file, dir string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	tr := tar.NewReader(f)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		h.Name = path.Join(dir, h.Name)
		if h.Typeflag == tar.TypeDir {
			h.Name += "/"
		}
		if h.Typeflag == tar.TypeLink {
			h.Linkname = path.Join(dir, h.Linkname)
		}
		h.Format = tar.FormatUnknown
		if err := tw.WriteHeader(h); err != nil {
			return fmt.Errorf("%s: %s: %w", file, h.Name, err)
		}
		if _, err := io.Copy(tw, tr); err != nil {
			return fmt.Errorf("%s: %s: %w", file, h.Name, err)
		}
	}
}
