// Package kernel takes Debian's kernel package apart: the kernel itself, the
// modules that the medium carries, and the few of them that the initramfs
// needs. Which ones is data: modules.list and initramfs.list.
package kernel

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/iso/debian"
	"github.com/bulkhead-os/bulkhead/iso/fingerprint"
	"github.com/bulkhead-os/bulkhead/iso/tools"
	"github.com/bulkhead-os/bulkhead/iso/tree"
)

// self is what decides on the result: this package's code and lists.
//
//go:embed *.go *.list
var self embed.FS

var (
	//go:embed modules.list
	modulesList string
	//go:embed initramfs.list
	initramfsList string
	//go:embed hot.list
	hotList string
)

// A Kernel is the prepared kernel. All paths are on the build machine.
type Kernel struct {
	// Version is uname -r.
	Version string
	// Image is the bootable kernel and Config its build configuration.
	Image, Config string
	// Modules and InitModules are folders that hold what belongs in
	// /usr/lib/modules: one folder named Version. In Modules its subfolder
	// kernel is empty: ModulesImage is mounted there at run time.
	Modules, InitModules, ModulesImage string
	// Further is laid out like the root of an image. In its modules' folder are
	// those that Modules has not, packed as Debian packs them, an index of all,
	// and mount points for the folders of Modules.
	Further string
}

// Prepare makes the kernel from the linux-image package, or finds it in dir
// from an earlier build. The image of modules is made by mkfs.erofs with the
// options packing.
func Prepare(ctx context.Context, dir string, archive *debian.Archive, pkg debian.Package, packing []string, ts *tools.Tools) (*Kernel, error) {
	code, err := fingerprint.Of(self)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(code + pkg.SHA256 + strings.Join(packing, " ")))
	dir = filepath.Join(dir, hex.EncodeToString(sum[:16]))
	k, err := open(dir, pkg)
	if err == nil {
		return k, nil
	}
	work := dir + ".part"
	if err := os.RemoveAll(work); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(work, 0o755); err != nil {
		return nil, err
	}
	if err := unpack(ctx, archive.Path(pkg), work, version(pkg), packing, ts); err != nil {
		return nil, fmt.Errorf("kernel %s: %w", pkg.Version, err)
	}
	// Earlier ones are of no more use.
	old, err := filepath.Glob(filepath.Join(filepath.Dir(dir), strings.Repeat("?", 2*16)))
	if err != nil {
		return nil, err
	}
	for _, d := range old {
		if err := os.RemoveAll(d); err != nil {
			return nil, err
		}
	}
	if err := os.Rename(work, dir); err != nil {
		return nil, err
	}
	return open(dir, pkg)
}

// version is uname -r of the kernel in the package linux-image-<version>.
func version(pkg debian.Package) string { return strings.TrimPrefix(pkg.Name, "linux-image-") }

func open(dir string, pkg debian.Package) (*Kernel, error) {
	k := &Kernel{
		Version: version(pkg),
		Image:   filepath.Join(dir, "vmlinuz"), Config: filepath.Join(dir, "config"),
		Modules: filepath.Join(dir, "modules"), InitModules: filepath.Join(dir, "init-modules"),
		ModulesImage: filepath.Join(dir, "modules.erofs"), Further: filepath.Join(dir, "further"),
	}
	_, err := os.Stat(k.Image)
	return k, err
}

func unpack(ctx context.Context, deb, dir, version string, packing []string, ts *tools.Tools) error {
	boot := map[string]string{"boot/vmlinuz-" + version: "vmlinuz", "boot/config-" + version: "config"}
	base := "usr/lib/modules/" + version + "/"
	all := make(modules)
	lists := make(map[string][]byte)
	err := debian.Walk(ctx, deb, func(h *tar.Header, r io.Reader) error {
		name := strings.TrimPrefix(path.Clean("/"+h.Name), "/")
		if !strings.HasPrefix(name, "usr/") && strings.HasPrefix(name, "lib/") {
			name = "usr/" + name
		}
		switch {
		case h.Typeflag != tar.TypeReg:
			return nil
		case boot[name] != "":
			return writeFile(filepath.Join(dir, boot[name]), r)
		case strings.HasPrefix(name, base+"kernel/"):
			raw, err := io.ReadAll(r)
			if err != nil {
				return err
			}
			all.add(strings.TrimPrefix(name, base), raw)
		case strings.HasPrefix(name, base+"modules."):
			raw, err := io.ReadAll(r)
			if err != nil {
				return err
			}
			lists[path.Base(name)] = raw
		}
		return nil
	})
	if err != nil {
		return err
	}
	kept, err := all.closure(all.match(parseRules(modulesList)))
	if err != nil {
		return err
	}
	early, err := all.closure(all.match(parseRules(initramfsList)))
	if err != nil {
		return err
	}
	hot, err := all.closure(all.match(parseRules(hotList)))
	if err != nil {
		return err
	}
	but := func(names, without []string) []string {
		return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return slices.Contains(without, name) })
	}
	root, initRoot := filepath.Join(dir, "modules", version), filepath.Join(dir, "init-modules", version)
	further := filepath.Join(dir, "further", base)
	for _, set := range []struct {
		folder string
		names  []string
		packed bool
	}{
		{filepath.Join(root, layout.ModulesImageAt), but(kept, hot), false},
		{filepath.Join(root, "hot"), hot, false},
		{filepath.Join(initRoot, "kernel"), early, false},
		{filepath.Join(further, "further"), but(slices.Sorted(maps.Keys(all)), kept), true},
	} {
		if err := all.write(set.folder, set.names, set.packed); err != nil {
			return err
		}
	}
	for _, r := range []string{root, further} {
		if err := os.Symlink("/usr/src/linux-headers-"+version, filepath.Join(r, "build")); err != nil {
			return err
		}
	}
	for _, r := range []string{root, initRoot} {
		if err := index(ctx, r, version, lists, ts); err != nil {
			return err
		}
	}
	if err := indexAll(ctx, root, further, version, lists, ts); err != nil {
		return err
	}
	return pack(ctx, filepath.Join(root, layout.ModulesImageAt), filepath.Join(dir, "modules.erofs"), packing, ts)
}

// indexAll makes the index of further and of what will be mounted there from
// root.
func indexAll(ctx context.Context, root, further, version string, lists map[string][]byte, ts *tools.Tools) error {
	names := []string{layout.ModulesImageAt, "hot"}
	for _, name := range names {
		if err := os.Symlink(filepath.Join(root, name), filepath.Join(further, name)); err != nil {
			return err
		}
	}
	if err := index(ctx, further, version, lists, ts); err != nil {
		return err
	}
	for _, name := range names {
		if err := os.Remove(filepath.Join(further, name)); err != nil {
			return err
		}
		if err := os.Mkdir(filepath.Join(further, name), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// pack makes an image of the modules in folder and leaves the folder empty.
func pack(ctx context.Context, folder, image string, packing []string, ts *tools.Tools) error {
	args := slices.Concat([]string{"--quiet"}, packing, []string{
		"-x-1", "-Uclear", "-T" + strconv.FormatInt(tree.Epoch.Unix(), 10), "--all-time", "--all-root", image, folder})
	err := ts.Run(ctx, "mkfs.erofs", args...)
	if err != nil {
		return fmt.Errorf("image of the modules: %w", err)
	}
	if err := os.RemoveAll(folder); err != nil {
		return err
	}
	return os.Mkdir(folder, 0o755)
}

// index runs depmod over the modules in root.
func index(ctx context.Context, root, version string, lists map[string][]byte, ts *tools.Tools) error {
	for _, name := range slices.Sorted(maps.Keys(lists)) {
		if err := os.WriteFile(filepath.Join(root, name), lists[name], 0o644); err != nil {
			return err
		}
	}
	// depmod wants <base>/lib/modules/<version>.
	base, err := os.MkdirTemp("", "depmod")
	if err != nil {
		return err
	}
	defer os.RemoveAll(base)
	if err := os.MkdirAll(filepath.Join(base, "lib/modules"), 0o755); err != nil {
		return err
	}
	if err := os.Symlink(root, filepath.Join(base, "lib/modules", version)); err != nil {
		return err
	}
	if err := ts.Run(ctx, "depmod", "-b", base, version); err != nil {
		return err
	}
	// Only depmod itself reads these.
	for _, name := range []string{"modules.symbols", "modules.symbols.bin", "modules.order", "modules.weakdep"} {
		if err := os.RemoveAll(filepath.Join(root, name)); err != nil {
			return err
		}
	}
	return nil
}

func writeFile(name string, r io.Reader) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, r); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
