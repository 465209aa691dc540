package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/milestone"
	"github.com/bulkhead-os/bulkhead/internal/wait"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

const (
	commandsLog = "/var/log/runcmd.log"
	// dockerLimit is how long the commands wait for user Docker, which most
	// of them want to use.
	dockerLimit = 2 * time.Minute
	// bootLimit is how long logins wait for bootcmd.
	bootLimit = time.Minute
)

// localScripts run after runcmd and the scripts of the user data, in order,
// where they exist.
var localScripts = []string{"/opt/rancher/bin/start.sh", "/etc/rc.local"}

// runBootCommands runs bootcmd, once per boot, also when a command restarts this
// service. What takes too long goes on by itself.
func (c *console) runBootCommands(ctx context.Context) error {
	if len(c.cfg.BootCmd) == 0 {
		return nil
	}
	if first, err := milestone.BootCommandsStarted.Claim(); !first {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- c.runList(ctx, "bootcmd", c.cfg.BootCmd) }()
	select {
	case err := <-ended:
		return err
	case <-time.After(bootLimit):
		return fmt.Errorf("bootcmd: not at its end after %v; see %s", bootLimit, commandsLog)
	}
}

// runCommands runs what the configuration wants run at boot. A command that
// fails does not keep the next from running.
func (c *console) runCommands(ctx context.Context) error {
	first, err := milestone.CommandsStarted.Claim()
	if !first {
		return err
	}
	if len(c.cfg.RunCmd) > 0 || len(userScripts()) > 0 || slices.ContainsFunc(localScripts, exists) {
		// One that merely answers may yet be restarted, with this boot's
		// configuration or disks, under a command that uses it.
		if err := wait.For(ctx, dockerLimit, milestone.UserConfigured, nil); err != nil {
			c.log.Warn("run the start commands without user Docker", "err", err)
		}
		err = c.runAll(ctx)
	}
	return errors.Join(err, milestone.CommandsDone.Set(""))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// userScripts are the scripts of the user data, in order.
func userScripts() []string {
	several, _ := filepath.Glob(layout.UserScripts + "/*") // the pattern is good
	if exists(layout.UserScript) {
		return append([]string{layout.UserScript}, several...)
	}
	return several
}

// runAll runs the configured commands and then the scripts. Whether a script
// is there is looked at when its turn comes: a command may have made it.
func (c *console) runAll(ctx context.Context) error {
	meta, _, err := osconfig.ReadMetadata(layout.Metadata)
	errs := []error{err}
	done, err := openLedger(layout.CommandsDone, meta.InstanceID)
	errs = append(errs, err)
	// All of runcmd is one: its commands build on each other.
	run, err := done.claim(c.usualRate(), fmt.Appendf(nil, "runcmd %q", c.cfg.RunCmd))
	if errs = append(errs, err); run {
		errs = append(errs, c.runList(ctx, "runcmd", c.cfg.RunCmd))
	}
	for _, path := range userScripts() {
		text, err := os.ReadFile(path)
		errs = append(errs, err)
		run, err := done.claim(c.scriptRate(path), text)
		if errs = append(errs, err); run {
			errs = append(errs, c.runScript(ctx, path))
		}
	}
	for _, path := range localScripts {
		err := rootsOwn("/", path)
		if err == nil {
			err = c.runScript(ctx, path)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (c *console) runList(ctx context.Context, key string, list []osconfig.Command) error {
	var errs []error
	for i, cmd := range list {
		errs = append(errs, c.runOne(ctx, fmt.Sprintf("%s[%d]", key, i), cmd))
	}
	return errors.Join(errs...)
}

// usualRate is how often commands run that do not say it themselves.
func (c *console) usualRate() rate {
	if c.cfg.Rancher.CloudInit.Once {
		return oncePerInstance
	}
	return eachBoot
}

func (c *console) scriptRate(path string) rate {
	switch filepath.Ext(path) {
	case layout.EachBootSuffix:
		return eachBoot
	case layout.OncePerInstanceSuffix:
		return oncePerInstance
	case layout.OnceEverSuffix:
		return onceEver
	}
	return c.usualRate()
}

func (c *console) runScript(ctx context.Context, path string) error {
	cmd, err := scriptCommand(path)
	return errors.Join(err, c.runOne(ctx, path, cmd))
}

// openRootDirs makes this container's mounts of layout.RootRunDirs writable, so
// that people can put files there.
func (c *console) openRootDirs(context.Context) error {
	var errs []error
	for _, dir := range layout.RootRunDirs() {
		err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_NOSUID|unix.MS_NODEV, "")
		// Where init could not make a mount there is none to open.
		if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, fmt.Errorf("make %s writable: %w", dir, err))
		}
	}
	return errors.Join(errs...)
}

// rootsOwn fails if another than this program's user, root, may have had a hand
// in a file, or in a directory between root and it.
func rootsOwn(root, path string) error {
	for p := path; p != root; p = filepath.Dir(p) {
		info, err := os.Lstat(p)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		what := ""
		stat, _ := info.Sys().(*syscall.Stat_t) // as for all files of this system
		switch mode := info.Mode(); {
		case mode.Type() == fs.ModeSymlink:
			what = "is a link"
		case stat.Uid != uint32(os.Geteuid()):
			what = "is not root's: chown root " + p
		case mode&0o002 != 0, mode&0o020 != 0 && stat.Gid != uint32(os.Getegid()):
			what = "can be written by others than root: chmod go-w " + p
		}
		if what != "" {
			return fmt.Errorf("%s is not run: %s %s", path, p, what)
		}
	}
	return nil
}

// scriptCommand returns how to run a script: itself when it can be executed
// and says with what, else with the shell. Nil when there is none.
func scriptCommand(path string) (osconfig.Command, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	start := make([]byte, 4)
	n, err := io.ReadFull(f, start)
	if n == 0 {
		return nil, nil
	}
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	runs := strings.HasPrefix(string(start), "#!") || string(start) == "\x7fELF"
	if runs && info.Mode()&0o111 != 0 {
		return osconfig.Command{path}, nil
	}
	return osconfig.Command{"/bin/sh", path}, nil
}

// runOne runs a command as root, if it has any words. Logs name it by where it
// comes from, since its words may hold secrets. Output goes straight to the
// file, so that a command can leave something running that keeps writing.
func (c *console) runOne(ctx context.Context, name string, words osconfig.Command) error {
	if len(words) == 0 || ctx.Err() != nil {
		return ctx.Err()
	}
	out, err := os.OpenFile(c.output, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	start := time.Now()
	// A log file that cannot be written keeps no command from running.
	_, _ = fmt.Fprintf(out, "%s %s\n", start.Format(time.RFC3339), name)
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "HOME=/root", "USER=root", "LOGNAME=root")
	cmd.Env = append(cmd.Env, c.cfg.Rancher.Network.ProxyEnvironment()...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = killAfter
	err = cmd.Run()
	c.log.Info("start command ended", "name", name, "took", time.Since(start).Round(time.Millisecond), "err", err)
	if err != nil {
		return fmt.Errorf("%s: %w; see %s", name, err, c.output)
	}
	return nil
}
