// Package upgrade puts a release into the slot that does not run, and has it start
// on trial. What speaks against it is found before anything is written.
package upgrade

import (
	"context"
	"errors"
	"fmt"

	"github.com/bulkhead-os/bulkhead/internal/bootstate"
	"github.com/bulkhead-os/bulkhead/internal/release"
	"github.com/bulkhead-os/bulkhead/internal/slots"
	"github.com/bulkhead-os/bulkhead/internal/work"
)

// Options are what people choose.
type Options struct {
	Disk    slots.Disk
	Release release.Release
	// Running is the system that runs.
	Running release.Manifest
	Keys    release.Keys
	// AllowUnsigned takes a release that nobody vouches for, and AllowDowngrade
	// an older one.
	AllowUnsigned, AllowDowngrade bool
	// Staged: the release is in the slot already.
	Staged bool
	// Tool puts what runs Debian's programs in front of their command line.
	Tool []string
	// Dir is a directory for mounts.
	Dir string
}

// A Plan is an upgrade that nothing speaks against, as far as can be known without
// reading all of it.
type Plan struct {
	Options
	Slot bootstate.Slot
	// Signed: a key that this machine knows has signed it.
	Signed bool
}

// New makes a plan.
func New(o Options) (*Plan, error) {
	p := &Plan{Options: o, Slot: o.Disk.Running.Other()}
	switch err := o.Keys.Check(o.Release.Text, o.Release.Signature); {
	case err == nil:
		p.Signed = true
	case !errors.Is(err, release.ErrUnsigned):
		return nil, fmt.Errorf("release %s: %w: get it again, from somebody you trust", o.Release.Version, err)
	case !o.AllowUnsigned:
		return nil, fmt.Errorf("release %s: %w; name the key in rancher.upgrade.keys, or say --allow-unsigned if you know where it is from", o.Release.Version, err)
	}
	err := o.Release.Suits(o.Running)
	if errors.Is(err, release.ErrOlder) {
		if o.AllowDowngrade {
			err = nil
		} else {
			err = fmt.Errorf("%w; say --allow-downgrade if that is meant", err)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("release %s: %w", o.Release.Version, err)
	}
	if err := o.Disk.Fits(p.Slot, o.Release.Manifest); err != nil {
		return nil, err
	}
	if err := o.Disk.MayFill(); err != nil {
		return nil, err
	}
	return p, nil
}

type step struct {
	name string
	do   func(context.Context, slots.Filling) error
}

func (p *Plan) steps() []step {
	if p.Staged {
		return []step{{"check", p.verify}}
	}
	slot := "slot " + string(p.Slot)
	return []step{
		{"release", p.check},
		{slot, func(ctx context.Context, f slots.Filling) error {
			if err := p.Disk.Clear(); err != nil {
				return err
			}
			return f.Write(ctx)
		}},
		{"check", func(ctx context.Context, f slots.Filling) error { return f.Finish(ctx) }},
	}
}

// Write puts the release into the slot.
func (p *Plan) Write(ctx context.Context, report func(work.Progress)) error {
	lock, err := p.Disk.Lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	meter := &work.Meter{Report: report}
	filling := p.Disk.Filling(p.Slot, p.Release)
	filling.Dir, filling.Tool, filling.Meter = p.Dir, p.Tool, meter
	steps := p.steps()
	for i, s := range steps {
		meter.Begin(i+1, len(steps), s.name)
		if err := s.do(ctx, filling); err != nil {
			return fmt.Errorf("release %s: %s: %w", p.Release.Version, s.name, err)
		}
	}
	return nil
}

// check makes sure that the release is whole before the slot loses what it has.
func (p *Plan) check(ctx context.Context, f slots.Filling) error {
	return p.Release.Check(ctx, f.Meter)
}

func (p *Plan) verify(ctx context.Context, f slots.Filling) error {
	return p.Disk.Verify(ctx, p.Slot, p.Dir, f.Meter)
}

// Arm has the release start on trial at the next boot, and returns the number of
// the trial.
func (p *Plan) Arm() (uint64, error) {
	lock, err := p.Disk.Lock()
	if err != nil {
		return 0, err
	}
	defer lock.Close()
	if err := p.Disk.MayFill(); err != nil {
		return 0, err
	}
	return p.Disk.Arm()
}
