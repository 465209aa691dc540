// Package rootfs makes the read-only root image: the host's own small tree,
// every layer as a folder, the image archives and the kernel modules.
package rootfs

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/iso/image"
	"github.com/bulkhead-os/bulkhead/iso/kernel"
	"github.com/bulkhead-os/bulkhead/iso/layer"
	"github.com/bulkhead-os/bulkhead/iso/tools"
	"github.com/bulkhead-os/bulkhead/iso/tree"
)

// Content is what the root image is made of.
type Content struct {
	// Version, Commit and Name go into os-release.
	Version, Commit string
	Layers          map[string]layer.Layer
	Images          []*image.Image
	Kernel          *kernel.Kernel
	Compression     Compression
	// Loader are the files of layout.LoaderDir, by name.
	Loader map[string]string
	// Policy is the file of the compiled AppArmor profiles.
	Policy string
	// ReleaseKeys is the file of the keys by which releases are believed, if any.
	ReleaseKeys string
	// Users are those of all services, so that the host can name them.
	Users []images.User
}

// dirs are empty directories and mount points: path → mode.
var dirs = map[string]int64{
	"bulkhead/layers": 0o755, "bulkhead/images": 0o755, "bulkhead/modules": 0o755, "bulkhead/medium": 0o755,
	"boot": 0o755, "dev": 0o755, "proc": 0o555, "sys": 0o555, "run": 0o755, "tmp": 0o1777,
	"state": 0o755, "data": 0o755, "home": 0o755, "opt": 0o755, "mnt": 0o755, "media": 0o755, "root": 0o700, "srv": 0o755,
	"var/lib": 0o755, "var/log": 0o755, "var/cache": 0o755, "var/spool": 0o755, "etc/docker": 0o755,
}

// links are the host's symbolic links that never change: path → target.
var links = map[string]string{
	"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64",
	"var/run": "/run", "var/tmp": "/tmp", "var/lock": "/run/lock",
	"etc/mtab": "../proc/self/mounts", "etc/os-release": "../bulkhead/os-release",
	"etc/resolv.conf": layout.EtcDir + "/resolv.conf",
	"etc/hosts":       layout.EtcDir + "/hosts",
	"etc/hostname":    layout.EtcDir + "/hostname",
}

// sharedLinks lead into shared layers: path → layer and path in it.
var sharedLinks = []struct{ path, layer, target string }{
	{"usr", "base", "usr"},
	{"etc/ssl", "base", "etc/ssl"},
	{"etc/nsswitch.conf", "base", "etc/nsswitch.conf"},
	{"etc/mke2fs.conf", "base", "etc/mke2fs.conf"},
	{"bulkhead/engine", "engine", "usr"},
	{"bulkhead/ros", "ros", "usr"},
}

// hostTree is everything but layers and modules.
func (c Content) hostTree() (*tree.Tree, error) {
	t := tree.New()
	for _, p := range slices.Sorted(maps.Keys(dirs)) {
		if err := t.Dir(p, dirs[p]); err != nil {
			return nil, err
		}
	}
	for _, p := range slices.Sorted(maps.Keys(links)) {
		if err := t.Symlink(p, links[p]); err != nil {
			return nil, err
		}
	}
	for _, l := range sharedLinks {
		shared, ok := c.Layers[l.layer]
		if !ok {
			return nil, fmt.Errorf("no layer %s", l.layer)
		}
		up := strings.Repeat("../", strings.Count(l.path, "/"))
		target := up + strings.TrimPrefix(layout.LayersDir, "/") + "/" + shared.DiffID + "/" + l.target
		if err := t.Symlink(l.path, target); err != nil {
			return nil, err
		}
	}
	accounts, err := layer.MakeAccounts(c.Users)
	if err != nil {
		return nil, err
	}
	if err := accounts.Put(t); err != nil {
		return nil, err
	}
	if err := t.File("bulkhead/os-release", 0o644, tree.Bytes(c.osRelease())); err != nil {
		return nil, err
	}
	if err := c.addImages(t); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(c.Loader)) {
		if err := t.HostFile(path.Join(layout.LoaderDir, name), 0o644, c.Loader[name]); err != nil {
			return nil, err
		}
	}
	if err := t.HostFile(layout.AppArmorPolicy, 0o644, c.Policy); err != nil {
		return nil, err
	}
	if c.ReleaseKeys != "" {
		if err := t.HostFile(layout.ReleaseKeys, 0o644, c.ReleaseKeys); err != nil {
			return nil, err
		}
	}
	if err := t.HostFile("boot/config-"+c.Kernel.Version, 0o644, c.Kernel.Config); err != nil {
		return nil, err
	}
	if err := t.HostFile(layout.ModulesImage, 0o644, c.Kernel.ModulesImage); err != nil {
		return nil, err
	}
	return t, t.AddFolder(layout.ModulesDir, c.Kernel.Modules)
}

func (c Content) addImages(t *tree.Tree) error {
	var index images.Index
	for _, img := range c.Images {
		e := img.IndexEntry()
		index.Images = append(index.Images, e)
		bare, err := img.Bare()
		if err != nil {
			return err
		}
		if err := t.File(layout.ImagesDir+"/"+e.Archive, 0o644, tree.Bytes(bare)); err != nil {
			return err
		}
	}
	raw, err := json.MarshalIndent(index, "", "  ")
	if err != nil {
		return err
	}
	return t.File(layout.ImageIndex, 0o644, tree.Bytes(append(raw, '\n')))
}

func (c Content) osRelease() string {
	return fmt.Sprintf(`NAME="Bulkhead"
PRETTY_NAME="Bulkhead %[1]s"
ID=bulkhead
ID_LIKE=debian
VERSION_ID=%[2]s
VERSION="%[1]s"
BUILD_ID=%[3]s
HOME_URL="https://github.com/bulkhead-os/bulkhead"
`, c.Version, strings.TrimPrefix(c.Version, "v"), c.Commit)
}

// Make makes the root image and returns where it is. It stays in the folder
// cache under a name made from its content; work is for what is only needed
// meanwhile.
func Make(ctx context.Context, c Content, ts *tools.Tools, work, cache string) (string, error) {
	host, err := c.hostTree()
	if err != nil {
		return "", fmt.Errorf("root tree: %w", err)
	}
	archive := filepath.Join(work, "root.tar")
	sum, err := c.writeTar(archive, host)
	if err != nil {
		return "", fmt.Errorf("root tree: %w", err)
	}
	defer os.Remove(archive)
	cache = filepath.Join(cache, c.Compression.Name)
	file := filepath.Join(cache, sum+".erofs")
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	// Only the last image is of use.
	if err := os.RemoveAll(cache); err != nil {
		return "", err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	// Not in work, which may lie on another file system.
	part := file + ".part"
	if err := c.Compression.mkfs(ctx, ts, part, archive); err != nil {
		return "", err
	}
	return file, os.Rename(part, file)
}

// writeTar writes the whole tree and returns a digest of it and of the
// settings of the file system.
func (c Content) writeTar(file string, host *tree.Tree) (string, error) {
	f, err := os.Create(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	fmt.Fprintln(sum, c.Compression.args(), c.Compression.hintList())
	tw := tar.NewWriter(io.MultiWriter(f, sum))
	if err := host.AppendTar(tw); err != nil {
		return "", err
	}
	for _, name := range slices.Sorted(maps.Keys(c.Layers)) {
		dir := strings.TrimPrefix(layout.LayersDir, "/") + "/" + c.Layers[name].DiffID
		if err := tree.CopyTar(tw, c.Layers[name].Tar, dir); err != nil {
			return "", err
		}
	}
	if err := tw.Close(); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil))[:32], f.Close()
}
