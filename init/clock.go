package main

import (
	"context"
	"fmt"
	"time"

	"github.com/bulkhead-os/bulkhead/internal/kmsg"
	"github.com/bulkhead-os/bulkhead/internal/layout"
)

// setClock sets a clock that says less than what is certain: it is not earlier
// than this build, nor than the last time that a boot with this state knew. On
// a machine without a battery, certificates would be "not yet valid" until the
// time servers have answered, whose own certificates and names may be among
// them.
func setClock(_ context.Context, b *boot) error {
	least, why := b.built, "when this build was made"
	if known, err := b.sys.ModTime(layout.LastTime); err == nil && known.After(least) {
		least, why = known, "the last time that was known"
	}
	now := b.sys.Now()
	if !now.Before(least) {
		return nil
	}
	if err := b.sys.SetClock(least); err != nil {
		return fmt.Errorf("set the clock from %s to %s: %w", now.UTC().Format(time.RFC3339), least.UTC().Format(time.RFC3339), err)
	}
	b.sys.Log(kmsg.Notice, fmt.Sprintf("init: the clock said %s; it is set to %s, %s",
		now.UTC().Format(time.RFC3339), least.UTC().Format(time.RFC3339), why))
	return nil
}
