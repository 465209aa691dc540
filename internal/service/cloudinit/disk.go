package cloudinit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"github.com/bulkhead-os/bulkhead/internal/blockdev"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
	"github.com/bulkhead-os/bulkhead/os-config/datasource"
)

// mountPoint is in the container's own mount namespace.
const mountPoint = "/mnt/config"

// readDisk stores what a configuration disk holds. No disk is no error: what
// an earlier boot stored stays in force.
func readDisk(ctx context.Context, log *slog.Logger, wait time.Duration) ([]osconfig.Problem, error) {
	dev, source, err := findDisk(ctx, wait)
	if err != nil {
		return nil, err
	}
	if dev.Path == "" {
		log.Info("no configuration disk")
		return nil, nil
	}
	var problems []osconfig.Problem
	complain := func(err error) {
		problems = append(problems, osconfig.Problem{Source: dev.String(), Text: strings.ReplaceAll(err.Error(), "\n", "; ")})
	}
	res, err := mountAndRead(dev, source)
	if err != nil {
		complain(err)
		if res.UserData == nil {
			// A disk that cannot be read is no order to forget its content.
			return problems, nil
		}
	}
	user, err := datasource.ParseUserData(res.UserData)
	if err != nil {
		complain(fmt.Errorf("user data: %w", err))
	}
	log.Info("configuration disk", "device", dev.Path, "kind", source.Label, "instance", res.Metadata.InstanceID,
		"config_bytes", len(user.Config), "script_bytes", len(user.Script), "keys", len(res.Metadata.PublicKeys))
	return problems, store("", res.Metadata, user)
}

// pollInterval is how often to look for a disk that may still appear.
const pollInterval = 200 * time.Millisecond

// findDisk returns the preferred configuration disk. It looks once, and again
// as long as wait allows and the set of block devices changes. A device
// without a path means that there is none.
func findDisk(ctx context.Context, wait time.Duration) (blockdev.Device, datasource.Datasource, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	seen := ""
	for {
		names, err := deviceNames()
		if err != nil {
			return blockdev.Device{}, datasource.Datasource{}, err
		}
		if names != seen {
			seen = names
			devices, err := blockdev.List("/")
			if err != nil {
				return blockdev.Device{}, datasource.Datasource{}, err
			}
			if dev, source, ok := choose(devices); ok {
				return dev, source, nil
			}
		}
		select {
		case <-ctx.Done():
			return blockdev.Device{}, datasource.Datasource{}, nil
		case <-time.After(pollInterval):
		}
	}
}

func deviceNames() (string, error) {
	entries, err := os.ReadDir("/sys/class/block")
	if err != nil {
		return "", fmt.Errorf("list block devices: %w", err)
	}
	var names strings.Builder
	for _, e := range entries {
		names.WriteString(e.Name() + " ")
	}
	return names.String(), nil
}

// choose picks the device with the preferred label. FAT labels are often
// upper case.
func choose(devices []blockdev.Device) (blockdev.Device, datasource.Datasource, bool) {
	for _, source := range datasource.Disks() {
		for _, d := range devices {
			if d.Info.Type != "" && strings.EqualFold(d.Info.Label, source.Label) {
				return d, source, true
			}
		}
	}
	return blockdev.Device{}, datasource.Datasource{}, false
}

func mountAndRead(dev blockdev.Device, source datasource.Datasource) (datasource.Result, error) {
	const flags = unix.MS_RDONLY | unix.MS_NODEV | unix.MS_NOSUID | unix.MS_NOEXEC
	if err := unix.Mount(dev.Path, mountPoint, dev.Info.Type, flags, ""); err != nil {
		return datasource.Result{}, fmt.Errorf("mount %s on %s (%s): %w", dev.Path, mountPoint, dev.Info.Type, err)
	}
	res, err := source.Read(os.DirFS(mountPoint))
	if uerr := unix.Unmount(mountPoint, unix.MNT_DETACH); uerr != nil {
		err = errors.Join(err, fmt.Errorf("unmount %s: %w", mountPoint, uerr))
	}
	return res, err
}

// store replaces what an earlier boot stored. Each file is whole at any
// moment, old or new. root is "" on the running system.
func store(root string, meta osconfig.Metadata, user datasource.UserData) error {
	if err := os.MkdirAll(filepath.Join(root, layout.CloudConfigDir), 0o700); err != nil {
		return err
	}
	text, err := meta.Marshal()
	if err != nil {
		return err
	}
	return errors.Join(
		replace(filepath.Join(root, layout.UserData), user.Config, 0o600),
		replace(filepath.Join(root, layout.UserScript), user.Script, 0o700),
		replace(filepath.Join(root, layout.Metadata), text, 0o600),
	)
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
