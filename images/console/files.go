package console

import (
	"bytes"
	"context"
	"errors"
	"os"

	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/milestone"
	"github.com/bulkhead-os/bulkhead/internal/writefile"
)

// makeRunFiles makes what programs look for in /run, which is the host's.
func (c *console) makeRunFiles(context.Context) error {
	// sshd wants its directory to be root's alone, and agetty looks at its file
	// only if it was there before.
	return errors.Join(os.MkdirAll("/run/sshd", 0o755), os.WriteFile(agettyReload, nil, 0o644))
}

// writeFiles writes the files of the configuration that are the console's, or
// that lie in a directory of the host, where services find theirs, too. Other
// files of services are the orchestrator's business.
func (c *console) writeFiles(context.Context) error {
	before, _ := os.ReadFile(layout.UserDaemonConfig) // there may be none
	var errs []error
	for _, f := range c.cfg.WriteFiles {
		if f.Container != "console" && !writefile.OnHost(string(f.Path)) {
			continue // the orchestrator's
		}
		if err := writefile.Write(string(f.Path), f); err != nil {
			errs = append(errs, err)
		}
	}
	if after, err := os.ReadFile(layout.UserDaemonConfig); err == nil && !bytes.Equal(before, after) {
		// User Docker may have begun with the old one.
		errs = append(errs, milestone.UserReload.Set(""))
	}
	return errors.Join(errs...)
}
