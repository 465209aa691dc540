package console

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/bulkhead-os/bulkhead/images/console/accounts"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

const skeleton = "/etc/skel"

// makeHome makes a home directory with the skeleton's files, once: /home is on
// the state partition.
func makeHome(home string, ids accounts.IDs, skel string) error {
	if _, err := os.Stat(home); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// Under another name first, so that a power cut leaves no half home.
	temp := home + ".new"
	if err := os.RemoveAll(temp); err != nil {
		return err
	}
	if err := os.CopyFS(temp, os.DirFS(skel)); err != nil {
		return fmt.Errorf("make home %s: %w", home, err)
	}
	err := fs.WalkDir(os.DirFS(temp), ".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path.Join(temp, name), ids.UID, ids.GID)
	})
	if err != nil {
		return fmt.Errorf("make home %s: %w", home, err)
	}
	if err := os.Chmod(temp, 0o750); err != nil {
		return err
	}
	return os.Rename(temp, home)
}

// The configuration's keys stand between these lines, so that a key that is
// taken out of the configuration goes, and one that somebody added stays.
const (
	keysBegin = "# Keys of the machine's configuration, written at each boot:"
	keysEnd   = "# End of the configuration's keys"
)

// writeAuthorizedKeys brings ~/.ssh/authorized_keys in line with the
// configuration. The home is the user's, who could have put links there:
// nothing is followed out of it.
func writeAuthorizedKeys(home string, ids accounts.IDs, keys []osconfig.AuthorizedKey) error {
	root, err := os.OpenRoot(home)
	if err != nil {
		return err
	}
	defer root.Close()
	const dir, file = ".ssh", ".ssh/authorized_keys"
	old, err := root.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	text := mergeKeys(old, keys)
	if bytes.Equal(text, old) {
		return nil
	}
	err = root.Mkdir(dir, 0o700)
	if err == nil {
		err = root.Lchown(dir, ids.UID, ids.GID)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	pending, err := renameio.NewPendingFile(file, renameio.WithRoot(root), renameio.WithStaticPermissions(0o600))
	if err != nil {
		return err
	}
	defer pending.Cleanup() //nolint:errcheck // what is left is a temporary file
	if _, err := pending.Write(text); err != nil {
		return err
	}
	if err := pending.Chown(ids.UID, ids.GID); err != nil {
		return err
	}
	return pending.CloseAtomicallyReplace()
}

// mergeKeys puts the configuration's keys, each once and in order, in place of
// those in the old file.
func mergeKeys(old []byte, keys []osconfig.AuthorizedKey) []byte {
	var managed, own []string
	seen := map[string]bool{}
	for _, key := range keys {
		if line := string(key); !seen[line] {
			seen[line] = true
			managed = append(managed, line)
		}
	}
	inside := false
	for line := range strings.Lines(string(old)) {
		switch line = strings.TrimRight(line, "\r\n"); {
		case line == keysBegin:
			inside = true
		case line == keysEnd:
			inside = false
		case !inside && !seen[line]:
			own = append(own, line)
		}
	}
	if len(managed) > 0 {
		managed = slices.Concat([]string{keysBegin}, managed, []string{keysEnd})
	}
	lines := append(managed, own...)
	if len(lines) == 0 {
		return nil
	}
	return []byte(strings.Join(lines, "\n") + "\n")
}
