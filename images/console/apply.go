package console

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"strings"
	"syscall"

	"github.com/bulkhead-os/bulkhead/images/console/accounts"
	"github.com/bulkhead-os/bulkhead/images/console/storage"
	"github.com/bulkhead-os/bulkhead/internal/tool"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

// The steps of a boot that Apply can do again, by their names in the boot
// report.
const (
	Kernel       = "kernel"
	Certificates = "certificates"
	Storage      = "storage"
	Accounts     = "accounts"
	WriteFiles   = "write-files"
	Environment  = "environment"
	SSH          = "ssh"
)

// Apply does a step for a configuration that takes the place of older ones, each
// of which may be in force in part, while the service runs. It must run in the
// console's container.
func Apply(ctx context.Context, log *slog.Logger, before []osconfig.Config, cfg osconfig.Config, step string) error {
	c := &console{log: log, cfg: cfg}
	switch step {
	case Kernel:
		return c.applyKernelSettings(ctx)
	case Certificates:
		return c.trustCertificates(ctx)
	case Storage:
		return c.applyStorage(ctx)
	case Accounts:
		return c.changeAccounts(ctx, before)
	case WriteFiles:
		// The others may have been changed since they were written.
		c.cfg.WriteFiles = newFiles(before, cfg.WriteFiles)
		return c.writeFiles(ctx)
	case Environment:
		return c.writeEnvironment(ctx)
	case SSH:
		return c.reloadSSH(ctx)
	}
	panic("BUG: console has no step " + step)
}

// newFiles returns the files that not all older configurations have.
func newFiles(before []osconfig.Config, files []osconfig.File) []osconfig.File {
	return slices.DeleteFunc(slices.Clone(files), func(f osconfig.File) bool {
		return !slices.ContainsFunc(before, func(old osconfig.Config) bool {
			return !slices.ContainsFunc(old.WriteFiles, func(o osconfig.File) bool { return reflect.DeepEqual(o, f) })
		})
	})
}

// applyStorage does all that the boot does about disks. A mount that fails is
// an error: nobody is there to try it again.
func (c *console) applyStorage(ctx context.Context) error {
	var errs []error
	r := storage.Runner{Log: c.log, Once: true, Report: func(p osconfig.Problem) { errs = append(errs, p) }}
	plan := storage.MakePlan(c.cfg)
	_, err := r.Prepare(ctx, plan)
	r.MountRemote(ctx, plan)
	return errors.Join(append(errs, err)...)
}

// changeAccounts does what the configuration wants of accounts now and did not
// before, and takes back keys and passwords.
func (c *console) changeAccounts(ctx context.Context, before []osconfig.Config) error {
	plan, err := planAccounts(c.cfg)
	if err != nil {
		return err
	}
	var old []accounts.Plan
	for _, cfg := range before {
		p, err := planAccounts(cfg)
		if err != nil {
			return err
		}
		old = append(old, p)
	}
	return carryOut(ctx, plan.Since(old...))
}

// planAccounts makes the plan for the existing accounts.
func planAccounts(cfg osconfig.Config) (accounts.Plan, error) {
	db, err := accounts.Read("/", accounts.Homes(cfg)...)
	if err != nil {
		return accounts.Plan{}, err
	}
	return accounts.MakePlan(cfg, db), nil
}

// reloadSSH makes sshd read a new configuration. Sessions stay.
func (c *console) reloadSSH(ctx context.Context) error {
	var err error
	if c.accounts, err = planAccounts(c.cfg); err != nil {
		return err
	}
	old, err := os.ReadFile(sshdConfig)
	if err != nil {
		return err
	}
	if err := c.prepareSSH(ctx); err != nil {
		return err
	}
	if err := tool.Run(ctx, "", "/usr/sbin/sshd", "-t", "-f", sshdConfig); err != nil {
		// sshd would end with it, and let nobody in.
		return errors.Join(fmt.Errorf("sshd refuses its configuration, the old one stays: %w", err),
			os.WriteFile(sshdConfig, old, 0o600))
	}
	if !c.cfg.Rancher.SSH.Daemon {
		return nil
	}
	if err := signalDaemon("/run/sshd.pid", "sshd", syscall.SIGHUP); err != nil {
		return err
	}
	return c.announceReady(ctx)
}

// signalDaemon sends a signal to the program that a file has the number of,
// if that is still the program.
func signalDaemon(file, program string, signal syscall.Signal) error {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it does not run, and will read its configuration when it does
	}
	if err != nil {
		return err
	}
	var pid int
	if _, err := fmt.Sscan(string(text), &pid); err != nil || pid < 2 {
		return fmt.Errorf("%s: %.20q is no process number", file, text)
	}
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil || strings.TrimSpace(string(comm)) != program {
		return nil
	}
	if err := syscall.Kill(pid, signal); err != nil {
		return fmt.Errorf("%v to %s: %w", signal, program, err)
	}
	return nil
}
