package trial

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/internal/bootlog"
	"github.com/bulkhead-os/bulkhead/internal/kmsg"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/power"
	"github.com/bulkhead-os/bulkhead/internal/retry"
	"github.com/bulkhead-os/bulkhead/internal/slots"
	"github.com/bulkhead-os/bulkhead/internal/version"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

// pause is how long the machine is left alone between two looks.
const pause = 3 * time.Second

// Run judges the system that runs, if it is on trial, and returns when it is
// judged or ctx ends.
func Run(ctx context.Context, system, user daemon, log *slog.Logger) {
	err := run(ctx, system, user, log)
	if err != nil && !errors.Is(err, slots.ErrNotInstalled) {
		log.Error("trial of the system", "err", err)
	}
}

func run(ctx context.Context, system, user daemon, log *slog.Logger) error {
	disk, err := slots.Booted("/")
	if err != nil {
		return err
	}
	blocks, err := disk.BootState().Read()
	if err != nil {
		return err
	}
	state, err := blocks.Read()
	if err != nil || !state.OnTrial(disk.Running) {
		return err
	}
	log.Info("this system is on trial", "slot", disk.Running, "trial", state.ID)
	t := &trial{disk: disk, number: state.ID, system: system, user: user, log: log}
	if !blocks.Counted(state) {
		// Should this system hang later, it would start again for ever.
		return errors.Join(t.fail("the boot loader could not write down that it was tried"), disk.Clear())
	}
	return t.judge(ctx)
}

// trial is one that is under way.
type trial struct {
	disk         slots.Disk
	number       uint64
	system, user daemon
	log          *slog.Logger
}

func (t *trial) judge(ctx context.Context) error {
	decls, err := images.Load()
	if err != nil {
		return err
	}
	var declared []string
	for _, d := range decls {
		declared = append(declared, d.Name)
	}
	// Problems of the configuration are reported by cloud-init.
	cfg, _, _ := osconfig.LoadRunning()
	judge := &Judge{Settle: time.Duration(cfg.Rancher.Upgrade.Settle), Limit: time.Duration(cfg.Rancher.Upgrade.Timeout)}
	before, known := Load(layout.BeforeUpgrade, t.number)
	if !known {
		t.log.Warn("it is not known what the machine was like before the upgrade")
	}
	t.makeStrict()
	dog, err := openWatchdog(ctx)
	if err != nil {
		t.log.Warn("a machine that hangs has to be reset by hand", "err", err)
	}
	routes := os.DirFS("/proc/net")
	last := ""
	for {
		now := Look(ctx, t.system, t.user, routes)
		want := before.Picture
		if !known {
			want = expectation(now)
		}
		missing := want.Missing(now, declared)
		if ctx.Err() != nil {
			return t.interrupted(dog)
		}
		if text := strings.Join(missing, "; "); text != last {
			t.log.Info("trial", "missing", text)
			last = text
		}
		switch judge.Decide(time.Duration(bootlog.Now()*float64(time.Second)), missing) {
		case Good:
			return errors.Join(dog.stop(), t.pass(before.Version))
		case Failed:
			return t.fail(fmt.Sprintf("after %v: %s", judge.Limit, last))
		}
		if err := dog.feed(); err != nil {
			t.log.Warn("watchdog", "err", err)
		}
		if retry.Sleep(ctx, pause) != nil {
			return t.interrupted(dog)
		}
	}
}

// makeStrict makes an oops of the kernel a panic, after which the machine returns,
// as PID 1 does unless somebody has set it otherwise. Their setting counts again
// from the next boot on.
func (t *trial) makeStrict() {
	if err := os.WriteFile("/proc/sys/kernel/panic_on_oops", []byte("1"), 0); err != nil {
		t.log.Warn("an oops is no panic", "err", err)
	}
}

// pass keeps the system.
func (t *trial) pass(from string) error {
	if err := t.disk.Keep(); err != nil {
		return err
	}
	t.announce(fmt.Sprintf("bulkhead: upgrade: %s in slot %s is good, and stays", version.Version, t.disk.Running))
	err := slots.History(layout.Upgrades).Add(slots.Event{
		Time: time.Now(), Outcome: slots.Good, Slot: t.disk.Running, Version: version.Version, From: from, Trial: t.number,
	})
	return errors.Join(err, os.Remove(layout.BeforeUpgrade))
}

// fail returns to the previous system, which writes down why.
func (t *trial) fail(cause string) error {
	err := t.disk.BootState().Note(t.disk.Running, cause)
	t.announce(kmsg.Failure("upgrade", errors.New(cause), "none needed: the machine returns to the previous system; ros os history has the cause"))
	return errors.Join(err, unix.Kill(1, power.Reboot.Signal()))
}

// interrupted is for a machine that somebody ends before there is a verdict.
func (t *trial) interrupted(dog *watchdog) error {
	err := t.disk.BootState().Note(t.disk.Running, "the machine was shut down, or rebooted, before its trial was over")
	return errors.Join(err, dog.stop())
}

func (t *trial) announce(line string) {
	if err := kmsg.Announce(line); err != nil {
		t.log.Warn("line did not reach the consoles", "line", line, "err", err)
	}
}
