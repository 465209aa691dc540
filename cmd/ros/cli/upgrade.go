package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/loop"
	"github.com/bulkhead-os/bulkhead/internal/partition"
	"github.com/bulkhead-os/bulkhead/internal/release"
	"github.com/bulkhead-os/bulkhead/internal/slots"
	"github.com/bulkhead-os/bulkhead/internal/upgrade"
	"github.com/bulkhead-os/bulkhead/sysdocker/trial"
)

// Where an upgrade mounts what it reads, and what it writes.
const (
	releaseDir = installDir + "/release"
	upgradeDir = installDir + "/upgrade"
)

func (p places) osUpgradeCommand() *cli.Command {
	return &cli.Command{
		Name: "upgrade", Usage: "put another version of the system onto the disk",
		Description: "It goes into the slot that does not run, and starts on trial: when the machine is not as good as it was\n" +
			"before, it returns by itself, and ros os history says why. State, data and configuration stay as they are.\n" +
			"Without --from it is what --stage has prepared, or what lies at rancher.upgrade.url. An upgrade that was cut\n" +
			"off goes on where it was when it is started again.\n\n" +
			"Examples:\n   sudo ros os upgrade --from bulkhead-amd64.iso\n   sudo ros os upgrade --from https://example.org/bulkhead/v1.2.3/ --stage\n" +
			"   sudo ros os upgrade --from /dev/sdb1 --yes",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "from", Aliases: []string{"f"}, Usage: "`SOURCE` of the release: an ISO, a directory, a device, or the address of a folder"},
			boolFlag("stage", "prepare it, and start nothing: the next ros os upgrade does"),
			boolFlag("yes", "ask nothing", "y"),
			boolFlag("no-reboot", "leave the machine running: the trial is the next boot"),
			boolFlag("allow-unsigned", "take a release that no known key has signed"),
			boolFlag("allow-downgrade", "take an older release"),
			boolFlag("dry-run", "show what would be done"),
			boolFlag("json", "print JSON"),
		},
		Action: p.osUpgrade,
	}
}

// An upgraded system is what ros os upgrade prints.
type upgraded struct {
	From    string `json:"from"`
	Version string `json:"version"`
	Serial  int64  `json:"serial"`
	Slot    string `json:"slot"`
	Bytes   int64  `json:"bytes"`
	Signed  bool   `json:"signed"`
	// Trial is the number of the trial; none if the system is only staged.
	Trial uint64 `json:"trial,omitempty"`
}

func (p places) osUpgrade(c *cli.Context) error {
	disk, err := bootedDisk()
	if errors.Is(err, slots.ErrNotInstalled) {
		return fmt.Errorf("%w: boot a newer medium instead, or put this system onto a disk with ros install", err)
	}
	if err != nil {
		return err
	}
	return p.withRelease(c, disk, func(r release.Release, staged bool) error {
		plan, err := p.planUpgrade(c, disk, r, staged)
		if err != nil {
			return err
		}
		return p.runUpgrade(c, plan)
	})
}

// withRelease runs use while the release that is asked for can be read.
func (p places) withRelease(c *cli.Context, disk slots.Disk, use func(r release.Release, staged bool) error) error {
	from := c.String("from")
	look := func(source release.Source) error {
		r, err := release.Look(c.Context, source)
		if err != nil {
			return fmt.Errorf("%s: %w", from, err)
		}
		return use(r, false)
	}
	if from == "" {
		staged, err := stagedRelease(disk)
		if err == nil {
			return use(staged, true)
		}
		cfg, _, _, err := p.load()
		if err != nil {
			return err
		}
		if from = string(cfg.Rancher.Upgrade.URL); from == "" {
			return usageError{errors.New("say where the release is, with --from, or in rancher.upgrade.url")}
		}
	}
	if strings.Contains(from, "://") {
		web, err := release.NewWeb(from)
		if err != nil {
			return err
		}
		return look(web)
	}
	info, err := os.Stat(from)
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return look(release.Folder(from))
	case info.Mode().Type() == fs.ModeDevice:
		return mountAny(from, func(dir string) error { return look(release.Folder(dir)) })
	}
	device, err := loop.Attach(from, unix.LO_FLAGS_AUTOCLEAR)
	if err != nil {
		return err
	}
	defer device.Close()
	return mountAny(device.Name(), func(dir string) error { return look(release.Folder(dir)) })
}

// mountAny mounts a medium as what it is.
func mountAny(device string, use func(dir string) error) error {
	var errs []error
	for _, kind := range []string{"iso9660", "ext4", "vfat"} {
		used := false
		err := partition.Mounted(device, kind, releaseDir, partition.ReadOnly, func(dir string) error {
			used = true
			return use(dir)
		})
		if used {
			return err
		}
		errs = append(errs, err)
	}
	return fmt.Errorf("%s is no ISO and no file system that is known: %w", device, errors.Join(errs...))
}

// stagedRelease is what is in the slot that does not run, if it is newer.
func stagedRelease(disk slots.Disk) (release.Release, error) {
	running, err := disk.Release(disk.Running, slotDir)
	if err != nil {
		return release.Release{}, err
	}
	r, err := disk.Release(disk.Running.Other(), slotDir)
	if err == nil && r.Serial <= running.Serial {
		err = release.ErrOlder
	}
	return r, err
}

func (p places) planUpgrade(c *cli.Context, disk slots.Disk, r release.Release, staged bool) (*upgrade.Plan, error) {
	keys, err := p.releaseKeys()
	if err != nil {
		return nil, err
	}
	running, err := disk.Release(disk.Running, slotDir)
	if err != nil {
		return nil, fmt.Errorf("the system that runs: %w", err)
	}
	tool, err := onHost()
	if err != nil {
		return nil, err
	}
	return upgrade.New(upgrade.Options{
		Disk: disk, Release: r, Running: running.Manifest, Keys: keys, Staged: staged, Tool: tool, Dir: upgradeDir,
		AllowUnsigned: c.Bool("allow-unsigned"), AllowDowngrade: c.Bool("allow-downgrade"),
	})
}

// releaseKeys are the keys that the image and the configuration name.
func (p places) releaseKeys() (release.Keys, error) {
	text, err := os.ReadFile(layout.ReleaseKeys)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	cfg, _, _, err := p.load()
	if err != nil {
		return nil, err
	}
	for _, key := range cfg.Rancher.Upgrade.Keys {
		text = fmt.Appendf(text, "\n%s", key)
	}
	return release.ParseKeys(text)
}

func (p places) runUpgrade(c *cli.Context, plan *upgrade.Plan) error {
	shown := upgraded{
		From: plan.Running.Version, Version: plan.Release.Version, Serial: plan.Release.Serial,
		Slot: string(plan.Slot), Bytes: plan.Release.Size(), Signed: plan.Signed,
	}
	what := fmt.Sprintf("Bulkhead %s, %d MB, %s, goes into slot %s; %s in slot %s runs.",
		shown.Version, shown.Bytes/1e6, choose(shown.Signed, "signed", "NOT SIGNED"), shown.Slot, shown.From, plan.Disk.Running)
	if c.Bool("dry-run") {
		if c.Bool("json") {
			return writeJSON(c.App.Writer, shown)
		}
		fmt.Fprintln(c.App.Writer, what)
		return nil
	}
	if !c.Bool("stage") && !c.Bool("no-reboot") {
		what += " Then the machine reboots."
	}
	if err := confirm(c, what); err != nil {
		return err
	}
	bar := newProgressLine(c.App.ErrWriter)
	err := plan.Write(c.Context, bar.show)
	bar.end()
	if err != nil {
		return err
	}
	if !c.Bool("stage") {
		if shown.Trial, err = p.arm(c, plan); err != nil {
			return err
		}
	}
	switch {
	case c.Bool("json"):
		err = writeJSON(c.App.Writer, shown)
	case shown.Trial == 0:
		fmt.Fprintf(c.App.Writer, "Bulkhead %s is in slot %s. Start it with: sudo ros os upgrade\n", shown.Version, shown.Slot)
	default:
		fmt.Fprintf(c.App.Writer, "Bulkhead %s in slot %s is on trial from the next boot on.\n", shown.Version, shown.Slot)
	}
	if err != nil || shown.Trial == 0 || c.Bool("no-reboot") {
		return err
	}
	return reboot()
}

// arm has the system start on trial, after writing down what it must not break.
func (p places) arm(c *cli.Context, plan *upgrade.Plan) (uint64, error) {
	system, err := dockerapi.New(p.systemSocket)
	if err != nil {
		return 0, err
	}
	defer system.Close()
	user, err := dockerapi.New(p.userSocket)
	if err != nil {
		return 0, err
	}
	defer user.Close()
	before := trial.Before{Version: plan.Running.Version, Picture: trial.Look(c.Context, system, user, os.DirFS("/proc/net"))}
	if before.Trial, err = plan.Arm(); err != nil {
		return 0, err
	}
	// A state that is full does not keep anybody from an upgrade.
	err = errors.Join(before.Save(layout.BeforeUpgrade), slots.History(layout.Upgrades).Add(slots.Event{
		Time: time.Now(), Outcome: slots.Tried, Slot: plan.Slot, Version: plan.Release.Version, From: plan.Running.Version, Trial: before.Trial,
	}))
	if err != nil {
		fmt.Fprintln(c.App.ErrWriter, "ros: what the machine is like cannot be written down, so the trial looks at OS services only:", err)
	}
	return before.Trial, nil
}
