package console

import (
	"context"

	"github.com/bulkhead-os/bulkhead/images/console/storage"
	"github.com/bulkhead-os/bulkhead/internal/milestone"
)

// prepareStorage makes disks, file systems, swap space and local mounts as the
// configuration wants them: homes and files may lie on them.
func (c *console) prepareStorage(ctx context.Context) error {
	failed, err := c.storage().Prepare(ctx, storage.MakePlan(c.cfg))
	c.failed = failed
	return err
}

// finishStorage mounts what is on the network, lets user Docker begin, and
// goes on trying what failed in the background.
func (c *console) finishStorage(ctx context.Context) error {
	c.failed = append(c.failed, c.storage().MountRemote(ctx, storage.MakePlan(c.cfg))...)
	if len(c.failed) > 0 {
		go c.storage().Retry(ctx, c.failed)
	}
	return milestone.StorageDone.Set("")
}

func (c *console) storage() storage.Runner {
	return storage.Runner{Log: c.log, Report: c.report}
}
