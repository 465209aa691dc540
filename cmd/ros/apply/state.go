package apply

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/bulkhead-os/bulkhead/internal/layout"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
	"github.com/bulkhead-os/bulkhead/os-config/conffile"
)

// A State is what the files of a machine said at boot and what they say now.
type State struct {
	Boot, Wanted osconfig.Config
	// Since is what has been applied last and, if that was not the last attempt,
	// what the last attempt wanted.
	Since []osconfig.Config
	// Problems are those of Wanted.
	Problems []osconfig.Problem
}

// ErrBooting means that the machine has not read all of its configuration yet.
var ErrBooting = errors.New("the machine is still reading its configuration: try again when it is ready (ros status)")

// Read reads the state. root is "" on the running system.
func Read(root, kernelLine string) (State, error) {
	return read(root, root, kernelLine)
}

// read is Read with the wanted files below a root of their own.
func read(root, wanted, kernelLine string) (s State, err error) {
	load := func(dir string) (osconfig.Config, error) {
		dir = filepath.Join(root, dir)
		if _, err := os.Stat(dir); err != nil {
			return osconfig.Config{}, err
		}
		// Its problems were reported when it was applied.
		cfg, _, err := osconfig.Load(dir, kernelLine)
		return cfg, err
	}
	if s.Boot, err = load(layout.BootConfig); errors.Is(err, fs.ErrNotExist) {
		return s, ErrBooting
	} else if err != nil {
		return s, err
	}
	for _, dir := range []string{layout.AppliedConfig, layout.TriedConfig} {
		cfg, err := load(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return s, err
		}
		s.Since = append(s.Since, cfg)
	}
	if len(s.Since) == 0 {
		s.Since = []osconfig.Config{s.Boot}
	}
	s.Wanted, s.Problems, err = osconfig.Load(wanted, kernelLine)
	return s, err
}

// Apply reads the state, lets carry bring the machine in line with it, and
// remembers what has been applied, or tried if carry returns ErrPart. What is
// written into the files meanwhile is for the next time. Of several callers
// one waits for the other.
func Apply(ctx context.Context, root, kernelLine string, carry func(State) error) error {
	applied, tried := filepath.Join(root, layout.AppliedConfig), filepath.Join(root, layout.TriedConfig)
	unlock, err := conffile.Lock(ctx, filepath.Dir(applied))
	if err != nil {
		return err
	}
	defer unlock()
	next := applied + ".next"
	if err := conffile.Snapshot(root, next); err != nil {
		return fmt.Errorf("copy the configuration: %w", err)
	}
	defer os.RemoveAll(next)
	s, err := read(root, next, kernelLine)
	if err != nil {
		return err
	}
	err = carry(s)
	if errors.Is(err, ErrPart) {
		return errors.Join(err, conffile.Replace(next, tried))
	}
	if err != nil {
		return err
	}
	return errors.Join(conffile.Replace(next, applied), os.RemoveAll(tried))
}

// ErrPart means that not all of a configuration could be applied.
var ErrPart = errors.New("configuration partly applied; run ros config apply to retry")
