package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/bulkhead-os/bulkhead/internal/layout"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

const (
	dhcpcd = "/usr/sbin/dhcpcd"
	// shippedConfig is the fixed part of dhcpcd's configuration.
	shippedConfig = "/etc/dhcpcd.conf"
	// clientStop bounds dhcpcd's end.
	clientStop = 5 * time.Second
	// commandLimit bounds a command of the configuration.
	commandLimit = 30 * time.Second
)

// A client is the running dhcpcd.
type client struct {
	log   *slog.Logger
	ended chan error // receives when it ended unasked
	text  string
	cmd   *exec.Cmd
	gone  chan struct{}
}

// configure gives dhcpcd its configuration, which may be empty for none. A
// dhcpcd with another one is replaced; it takes no address away as it ends.
func (c *client) configure(text string) error {
	if text == c.text {
		return nil
	}
	c.stop()
	c.text = text
	if text == "" {
		return os.Remove(layout.DHCPConfig)
	}
	if err := os.WriteFile(layout.DHCPConfig, []byte(text), 0o644); err != nil {
		return err
	}
	return c.start()
}

// start runs dhcpcd in the foreground, with all messages on standard error.
func (c *client) start() error {
	cmd := exec.Command(dhcpcd, "--nobackground", "--config", layout.DHCPConfig)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", dhcpcd, err)
	}
	gone := make(chan struct{})
	ended := make(chan error, 1)
	c.cmd, c.gone, c.ended = cmd, gone, ended
	go func() {
		err := cmd.Wait()
		close(gone)
		ended <- err
	}()
	return nil
}

// stop ends dhcpcd if it runs.
func (c *client) stop() {
	if c.cmd == nil {
		return
	}
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // fails on one that has ended
	select {
	case <-c.gone:
	case <-time.After(clientStop):
		c.log.Warn("dhcpcd does not end; it is killed")
		_ = c.cmd.Process.Kill()
		<-c.gone
	}
	c.cmd, c.ended = nil, nil
}

// runCommand runs a command of the configuration for an interface, if any.
func runCommand(ctx context.Context, command osconfig.Command, iface string) error {
	if len(command) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	args := make([]string, len(command))
	for i, a := range command {
		args[i] = a
		if iface != "" && command[0] != "/bin/sh" { // a shell does so itself
			args[i] = strings.NewReplacer("$iface", iface, "${iface}", iface).Replace(a)
		}
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = os.Environ()
	if iface != "" {
		cmd.Env = append(cmd.Env, "iface="+iface)
	}
	// What it leaves running must not keep the service waiting.
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if text := strings.TrimSpace(string(out)); err != nil && text != "" && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: %s", err, text)
	}
	return err
}
