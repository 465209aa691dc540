package console

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/bulkhead-os/bulkhead/images/console/accounts"
	"github.com/bulkhead-os/bulkhead/internal/kmsg"
	"github.com/bulkhead-os/bulkhead/internal/tool"
)

// sudoersFile comes after the image's own, so that its rules count.
const sudoersFile = "/etc/sudoers.d/configuration"

// makeAccounts brings groups, users, passwords, sudo rules, homes and keys in
// line with the configuration. Files may belong to the accounts, so they come
// later, and homes may lie on disks, which are there by then.
func (c *console) makeAccounts(ctx context.Context) error {
	var err error
	if c.accounts, err = planAccounts(c.cfg); err != nil {
		return err
	}
	return carryOut(ctx, c.accounts)
}

// carryOut does what a plan for accounts says.
func carryOut(ctx context.Context, p accounts.Plan) error {
	var errs []error
	for _, problem := range p.Problems {
		errs = append(errs, errors.New(problem))
	}
	for _, argv := range p.Commands {
		errs = append(errs, tool.Run(ctx, "", argv...))
	}
	errs = append(errs, setPasswords(ctx, p.Passwords), writeSudoers(ctx, p.Sudoers))
	for _, login := range p.Logins {
		if login.MakeHome {
			errs = append(errs, makeHome(login.Home, login.IDs, skeleton))
		}
		err := writeAuthorizedKeys(login.Home, login.IDs, login.Keys)
		if err != nil {
			err = fmt.Errorf("keys of %s: %w", login.Name, err)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// setPasswords sets passwords, in clear or as crypt(3) has them. An account
// without one keeps "*": no password can be entered, and keys work.
func setPasswords(ctx context.Context, passwords []accounts.Password) error {
	var clear, hashed strings.Builder
	for _, p := range passwords {
		switch {
		case p.Value == "":
			random := rand.Text()
			fmt.Fprintf(&clear, "%s:%s\n", p.Name, random)
			// The consoles only: the log of the kernel is for everyone.
			if err := kmsg.Announce(fmt.Sprintf("bulkhead: password of %s until the next boot: %s", p.Name, random)); err != nil {
				return err
			}
		case p.Hash:
			fmt.Fprintf(&hashed, "%s:%s\n", p.Name, p.Value.Reveal())
		default:
			fmt.Fprintf(&clear, "%s:%s\n", p.Name, p.Value.Reveal())
		}
	}
	var errs []error
	for _, call := range []struct {
		lines string
		argv  []string
	}{
		{hashed.String(), []string{"/usr/sbin/chpasswd", "--encrypted"}},
		{clear.String(), []string{"/usr/sbin/chpasswd", "--crypt-method", "YESCRYPT"}},
	} {
		if call.lines != "" {
			errs = append(errs, tool.Run(ctx, call.lines, call.argv...))
		}
	}
	return errors.Join(errs...)
}

// writeSudoers writes the rules, unless there is a mistake in them, with which
// sudo would let nobody in.
func writeSudoers(ctx context.Context, text string) error {
	if text == "" {
		if err := os.Remove(sudoersFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	// sudo reads no file with a dot in its name.
	draft := sudoersFile + ".new"
	if err := os.WriteFile(draft, []byte(text), 0o440); err != nil {
		return err
	}
	if err := tool.Run(ctx, "", "/usr/sbin/visudo", "--check", "--quiet", "--file", draft); err != nil {
		return errors.Join(fmt.Errorf("users: sudo rules: %w", err), os.Remove(draft))
	}
	return os.Rename(draft, sudoersFile)
}
