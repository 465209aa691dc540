package cloudinit

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/os-config/datasource"
	"github.com/bulkhead-os/bulkhead/os-config/datasource/userdata"
)

// Of the files of one boot, the later in the alphabet counts; boot.yml, the
// last part of the user data, counts most.
const (
	vendorFile  = layout.CloudConfigDir + "/boot-00-vendor-%02d.yml"
	networkFile = layout.CloudConfigDir + "/boot-10-network.yml"
	partFile    = layout.CloudConfigDir + "/boot-20-part-%02d.yml"
)

// A finding is what a source held, taken apart.
type finding struct {
	res          datasource.Result
	vendor, user userdata.UserData
	// keepUser leaves the user data of an earlier boot in force.
	keepUser bool
}

// store replaces what an earlier boot stored. Each file is whole at any
// moment, old or new. root is "" on the running system.
func (f finding) store(root string) error {
	files, err := f.files()
	if err != nil {
		return err
	}
	for _, dir := range []string{layout.CloudConfigDir, layout.UserScripts} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o700); err != nil {
			return err
		}
	}
	var errs []error
	for path, file := range files {
		errs = append(errs, replace(filepath.Join(root, path), file.data, file.mode))
	}
	return errors.Join(append(errs, f.removeStale(root, files))...)
}

type file struct {
	data []byte // nil removes the file
	mode fs.FileMode
}

// files are the files to write, by path.
func (f finding) files() (map[string]file, error) {
	metadata, err := f.res.Metadata.Marshal()
	if err != nil {
		return nil, err
	}
	network, err := f.res.Network.CloudConfig()
	if err != nil {
		return nil, err
	}
	files := map[string]file{
		layout.Metadata: {metadata, 0o600},
		networkFile:     {network, 0o600},
	}
	for n, text := range f.vendor.Configs {
		files[fmt.Sprintf(vendorFile, n+1)] = file{text, 0o600}
	}
	if f.keepUser {
		return files, nil
	}
	files[layout.UserData] = file{}
	for n, text := range f.user.Configs {
		path := fmt.Sprintf(partFile, n+1)
		if n == len(f.user.Configs)-1 {
			path = layout.UserData
		}
		files[path] = file{text, 0o600}
	}
	files[layout.UserScript] = file{}
	scripts := append(f.vendor.Scripts[:len(f.vendor.Scripts):len(f.vendor.Scripts)], f.user.Scripts...)
	if len(scripts) == 1 && scripts[0].When == userdata.Whenever {
		files[layout.UserScript] = file{scripts[0].Body, 0o700}
		return files, nil
	}
	for n, s := range scripts {
		name := fmt.Sprintf("%03d-%s%s", n+1, fileName(cmp.Or(s.Name, "script")), suffixes[s.When])
		files[layout.UserScripts+"/"+name] = file{s.Body, 0o700}
	}
	return files, nil
}

// suffixes tell the console how often a script is to run.
var suffixes = map[userdata.When]string{
	userdata.EachBoot:        layout.EachBootSuffix,
	userdata.OncePerInstance: layout.OncePerInstanceSuffix,
	userdata.OnceEver:        layout.OnceEverSuffix,
}

// fileName makes a name that came with user data fit for a file.
func fileName(name string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_':
			return r
		}
		return '-'
	}, filepath.Base(name))
	return name[:min(len(name), 64)]
}

// removeStale removes the files of an earlier boot that this one does not
// write.
func (f finding) removeStale(root string, files map[string]file) error {
	if f.keepUser {
		return nil
	}
	var errs []error
	for _, pattern := range []string{layout.BootParts, layout.UserScripts + "/*"} {
		old, err := filepath.Glob(filepath.Join(root, pattern))
		errs = append(errs, err)
		for _, path := range old {
			if _, keep := files["/"+strings.TrimLeft(strings.TrimPrefix(path, root), "/")]; !keep {
				errs = append(errs, os.Remove(path))
			}
		}
	}
	return errors.Join(errs...)
}

// replace writes a file, or removes it when there is nothing to write. It
// leaves a file alone that has the content already, which spares the disk.
func replace(path string, data []byte, mode fs.FileMode) error {
	if data == nil {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	if old, err := os.ReadFile(path); err == nil && string(old) == string(data) {
		return os.Chmod(path, mode)
	}
	err := renameio.WriteFile(path, data, mode, renameio.WithTempDir(filepath.Dir(path)), renameio.IgnoreUmask())
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
