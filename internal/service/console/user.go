package console

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"

	"github.com/google/renameio/v2"

	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

// The user that people log in as. The image's declaration makes the account.
const (
	userName = "rancher"
	userID   = 1100
	userHome = "/home/rancher"
	skeleton = "/etc/skel"
)

func (c *console) makeHome(context.Context) error { return makeHome(userHome, userID, skeleton) }

func (c *console) writeKeys(context.Context) error {
	return writeAuthorizedKeys(userHome, userID, c.cfg.SSHAuthorizedKeys)
}

// makeHome makes a home directory with the skeleton's files, once: /home is on
// the state partition.
func makeHome(home string, id int, skel string) error {
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
		return os.Lchown(path.Join(temp, name), id, id)
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
	keysBegin = "# Keys of the machine's configuration, written anew at each boot:"
	keysEnd   = "# End of the configuration's keys"
)

// writeAuthorizedKeys brings ~/.ssh/authorized_keys in line with the
// configuration. The home is the user's, who could have put links there:
// nothing is followed out of it.
func writeAuthorizedKeys(home string, id int, keys []osconfig.AuthorizedKey) error {
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
		err = root.Lchown(dir, id, id)
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
	if err := pending.Chown(id, id); err != nil {
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

// setPassword sets the configured password, in clear or as crypt(3) has it.
// Without one the account keeps the image's "*": no password can be entered,
// and keys work, since "*" is not the "!" of a locked account.
func (c *console) setPassword(ctx context.Context) error {
	password := c.cfg.Rancher.Password.Reveal()
	if password == "" {
		return nil
	}
	if strings.ContainsAny(password, "\n\r\x00") {
		return errors.New("rancher.password: line ends cannot be part of a password")
	}
	args := []string{"--crypt-method", "YESCRYPT"}
	if isCrypt(password) {
		args = []string{"--encrypted"}
	}
	cmd := exec.CommandContext(ctx, "/usr/sbin/chpasswd", args...)
	cmd.Stdin = strings.NewReader(userName + ":" + password + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		// The output names the line, never the password.
		return fmt.Errorf("set the password of %s: %w: %s", userName, err, bytes.TrimSpace(out))
	}
	return nil
}

// isCrypt tells a crypt(5) hash such as $y$… or $6$… from a password.
func isCrypt(password string) bool {
	return strings.HasPrefix(password, "$") && strings.Count(password, "$") >= 3 && len(password) > 20
}
