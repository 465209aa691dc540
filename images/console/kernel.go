package console

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-os/bulkhead/internal/tool"
)

// applyKernelSettings loads modules and sets sysctls, in this order: a module
// may bring the setting. Each one is tried, whatever the others do. What a link
// or a module brings later is followSysctls' to set.
func (c *console) applyKernelSettings(ctx context.Context) error {
	var errs []error
	for _, module := range c.cfg.Rancher.Modules {
		// An item may have parameters: "bonding mode=1".
		if err := tool.Run(ctx, "", append([]string{"/usr/sbin/modprobe", "--"}, strings.Fields(string(module))...)...); err != nil {
			errs = append(errs, fmt.Errorf("load module %s: %w", module, err))
		}
	}
	if size := c.cfg.Rancher.TmpSize; size != "" {
		// The mount is one of the machine's, and so is its size.
		if err := unix.Mount("", "/tmp", "", unix.MS_REMOUNT|unix.MS_NOSUID|unix.MS_NODEV, "size="+size.Mount()); err != nil {
			errs = append(errs, fmt.Errorf("rancher.tmp_size: %s: %w", size, err))
		}
	}
	missing, err := setSysctls(c.cfg.Rancher.Sysctl)
	return errors.Join(append(errs, err, keepSysctls(c.cfg.Rancher.Sysctl, missing))...)
}

// sysctlPath returns the file of a sysctl. With a dot first, slashes are
// dots: net.ipv4.conf.eth0/100.forwarding is that of eth0.100 (sysctl(8)).
func sysctlPath(name string) string {
	if i := strings.IndexAny(name, "./"); i >= 0 && name[i] == '.' {
		name = strings.NewReplacer(".", "/", "/", ".").Replace(name)
	}
	// Cleaned as an absolute path, it cannot leave the directory.
	return filepath.Join("/proc/sys", filepath.Clean("/"+name))
}
