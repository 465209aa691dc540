package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/bulkhead-os/bulkhead/internal/disklayout"
	"github.com/bulkhead-os/bulkhead/internal/install"
	"github.com/bulkhead-os/bulkhead/internal/kmsg"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/power"
	"github.com/bulkhead-os/bulkhead/internal/work"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
	"github.com/bulkhead-os/bulkhead/os-config/cmdline"
)

// installDir is where the installer mounts the partitions that it fills.
const installDir = layout.RunDir + "/install"

func (p places) installCommand() *cli.Command {
	return &cli.Command{
		Name:  "install",
		Usage: "put this system onto a disk",
		Description: "Everything on the disk is lost. What is there is shown, and the name of the disk has to be typed. The\n" +
			"installed machine gets FILE as its configuration, or that of this one. Until the end nothing boots from\n" +
			"the disk; after a failure it is empty.\n\n" +
			"Examples:\n   sudo ros install --device /dev/sda --config cloud-config.yml\n   sudo ros install --auto --dry-run\n" +
			"   sudo ros install -d /dev/nvme0n1 -c cloud-config.yml --append console=ttyS1 --force --no-reboot",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "device", Aliases: []string{"d"}, Usage: "install to `DISK`"},
			boolFlag("auto", "install to the only disk that can be installed to"),
			fileFlag("config", "configure the installed machine with `FILE` (- is standard input)", "c"),
			&cli.StringFlag{Name: "append", Aliases: []string{"a"}, Usage: "further kernel `PARAMETERS`"},
			boolFlag("force", "ask nothing; what is refused stays refused", "f"),
			boolFlag("no-reboot", "leave this system running"),
			boolFlag("dry-run", "show what would be done"),
			boolFlag("json", "print JSON"),
			&cli.BoolFlag{Name: "unattended", Usage: "do what rancher.install says", Hidden: true},
		},
		Action: func(c *cli.Context) error {
			if c.Bool("unattended") {
				return p.installUnattended(c)
			}
			return p.install(c)
		},
	}
}

func (p places) install(c *cli.Context) error {
	device := c.String("device")
	if (device == "") != c.Bool("auto") {
		return usageError{errors.New("say either --device DISK or --auto; ros install --auto --dry-run shows what there is")}
	}
	if os.Geteuid() != 0 {
		return withSudo(fmt.Errorf("install to a disk: %w", os.ErrPermission))
	}
	files, err := p.installedConfig(c)
	if err != nil {
		return err
	}
	wish := install.Wish{Device: device, Args: c.String("append")}
	if c.Bool("auto") {
		wish.Device = install.Auto
	}
	disk, err := wish.Find(install.Machine{Root: "/"})
	if err != nil {
		return err
	}
	plan, err := newInstallation(disk, files, wish)
	if err != nil {
		return err
	}
	if c.Bool("dry-run") {
		return showInstallation(c, plan)
	}
	if !c.Bool("force") {
		if err := askInstallation(c, plan); err != nil {
			return err
		}
	}
	bar := newProgressLine(c.App.ErrWriter)
	result, err := plan.Run(c.Context, bar.show)
	bar.end()
	if err != nil {
		return err
	}
	if c.Bool("json") {
		if err := writeJSON(c.App.Writer, result); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(c.App.Writer, "Bulkhead %s is on %s, %d MB in %.0f s. Remove the medium that this system runs from.\n",
			result.Version, result.Device, result.Bytes/1e6, result.Seconds)
	}
	if c.Bool("no-reboot") {
		return nil
	}
	return reboot()
}

// reboot asks PID 1 for an orderly one.
func reboot() error {
	if err := unix.Kill(1, power.Reboot.Signal()); err != nil {
		return fmt.Errorf("the machine does not reboot: %w", err)
	}
	return nil
}

func newInstallation(disk install.Disk, files []install.File, wish install.Wish) (*install.Plan, error) {
	tool, err := onHost()
	if err != nil {
		return nil, err
	}
	return install.New(install.Options{
		Disk: disk, Config: files, Args: wish.Args, ID: wish.ID(),
		Tool: tool, Dir: installDir,
	}, install.Running())
}

// onHost is what runs a program of the host's: a console of another system may
// lack those that make file systems.
func onHost() ([]string, error) {
	own, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return nil, err
	}
	host, err := os.Readlink("/proc/1/ns/mnt")
	if err != nil {
		return nil, err
	}
	if own == host {
		return nil, nil
	}
	return []string{"/usr/bin/nsenter", "--target", "1", "--mount", "--"}, nil
}

// installedConfig returns the configuration of the installed machine.
func (p places) installedConfig(c *cli.Context) ([]install.File, error) {
	file := c.String("config")
	if file == "" {
		return p.runningConfig()
	}
	text, err := input(c, file)
	if err != nil {
		return nil, err
	}
	cfg := osconfig.Defaults()
	problems := cfg.Merge(file, text)
	problems = append(problems, otherServiceProblems(file, cfg)...)
	for _, problem := range problems {
		fmt.Fprintln(c.App.ErrWriter, problem)
	}
	if osconfig.AnyError(problems) {
		return nil, fmt.Errorf("%s has mistakes: nothing has been installed", file)
	}
	return []install.File{{Path: layout.CloudConfig, Data: text}}, nil
}

// kept are the files of this machine's configuration that the installed one
// gets, and directories of such files. What says that something has been done
// once is not among them, nor are host keys.
var kept = []string{
	layout.CloudConfig, layout.CloudConfigDir, layout.Metadata,
	layout.UserScript, layout.UserScripts, layout.IncludeDir,
}

func (p places) runningConfig() ([]install.File, error) {
	var files []install.File
	for _, name := range kept {
		err := filepath.WalkDir(filepath.Join("/", p.root, name), func(path string, d os.DirEntry, err error) error {
			if errors.Is(err, os.ErrNotExist) {
				return nil
			}
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			files = append(files, install.File{Path: strings.TrimPrefix(path, p.root), Data: data})
			return nil
		})
		if err != nil {
			return nil, withSudo(err)
		}
	}
	return files, nil
}

// installation is what --dry-run prints.
type installation struct {
	Disk       install.Disk       `json:"disk"`
	Partitions []plannedPartition `json:"partitions"`
	Steps      []string           `json:"steps"`
	Config     []string           `json:"config"`
}

type plannedPartition struct {
	Name  string `json:"name"`
	Start int64  `json:"start"`
	Size  int64  `json:"size"`
}

func showInstallation(c *cli.Context, plan *install.Plan) error {
	if !c.Bool("json") {
		return writeInstallation(c.App.Writer, plan)
	}
	shown := installation{Disk: plan.Disk, Config: []string{}}
	for _, part := range plan.Parts {
		shown.Partitions = append(shown.Partitions, plannedPartition{part.Role.Name(), part.Start, part.Size})
	}
	for _, s := range plan.Steps() {
		shown.Steps = append(shown.Steps, s.Name)
	}
	for _, f := range plan.Config {
		shown.Config = append(shown.Config, f.Path)
	}
	return writeJSON(c.App.Writer, shown)
}

// gib writes a size for people.
func gib(size int64) string {
	if size < disklayout.GiB {
		return fmt.Sprintf("%d MiB", size/disklayout.MiB)
	}
	return fmt.Sprintf("%.1f GiB", float64(size)/disklayout.GiB)
}

// writeInstallation tells what is on a disk, and what will be.
func writeInstallation(w io.Writer, plan *install.Plan) error {
	out := bufio.NewWriter(w)
	d := plan.Disk
	fmt.Fprintf(out, "%s: %s", d.Path, gib(d.Size))
	for _, text := range []string{d.Model, d.Serial} {
		if text != "" {
			fmt.Fprintf(out, ", %s", text)
		}
	}
	if d.Blank() {
		fmt.Fprint(out, ", empty\n")
	} else {
		fmt.Fprint(out, "\nAll of this will be lost:\n")
		for _, content := range d.Content {
			fmt.Fprintf(out, "  %-16s %9s  %s\n", content.Device, gib(content.Size), content)
		}
		if len(d.Content) == 0 {
			fmt.Fprintln(out, "  a partition table without partitions")
		}
	}
	fmt.Fprintf(out, "It gets Bulkhead %s:\n", plan.Release.Version)
	for _, part := range plan.Parts {
		fmt.Fprintf(out, "  %-20s %9s\n", part.Role.Name(), gib(part.Size))
	}
	switch len(plan.Config) {
	case 0:
		fmt.Fprintln(out, "and no configuration: say one with --config, else nobody can log in.")
	default:
		fmt.Fprintf(out, "and %d files of configuration.\n", len(plan.Config))
	}
	return out.Flush()
}

// askInstallation has people type the name of the disk.
func askInstallation(c *cli.Context, plan *install.Plan) error {
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return usageError{errors.New("nobody can be asked without a terminal: say --force if all on the disk may be lost")}
	}
	if err := writeInstallation(c.App.ErrWriter, plan); err != nil {
		return err
	}
	fmt.Fprintf(c.App.ErrWriter, "Type %s to go on: ", plan.Disk.Name())
	answer, _ := bufio.NewReader(c.App.Reader).ReadString('\n')
	if strings.TrimPrefix(strings.TrimSpace(answer), "/dev/") != plan.Disk.Name() {
		return errors.New("nothing has been changed")
	}
	return nil
}

// A progressLine is one line of a terminal, and nothing elsewhere.
type progressLine struct {
	out      io.Writer
	terminal bool
	step     int
	// began is when the step did, and drawn when the line was drawn last.
	began, drawn time.Time
}

func newProgressLine(out io.Writer) *progressLine {
	f, is := out.(*os.File)
	return &progressLine{out: out, terminal: is && term.IsTerminal(int(f.Fd()))}
}

const drawPause = 200 * time.Millisecond

func (l *progressLine) show(p work.Progress) {
	now := time.Now()
	if p.Step != l.step {
		l.step, l.began, l.drawn = p.Step, now, time.Time{}
	}
	if !l.terminal || now.Sub(l.drawn) < drawPause {
		return
	}
	l.drawn = now
	fmt.Fprintf(l.out, "\r\x1b[K%s", progressText(p, now.Sub(l.began)))
}

func (l *progressLine) end() {
	if l.terminal {
		fmt.Fprint(l.out, "\r\x1b[K")
	}
}

// progressText is the line: step, amount, rate, time that is left.
func progressText(p work.Progress, passed time.Duration) string {
	text := fmt.Sprintf("[%d/%d] %s", p.Step, p.Steps, p.Name)
	if p.Total == 0 {
		return text
	}
	text += fmt.Sprintf(": %d of %d MB", p.Done/1e6, p.Total/1e6)
	rate := float64(p.Done) / passed.Seconds()
	if passed < time.Second || rate == 0 {
		return text
	}
	left := time.Duration(float64(p.Total-p.Done) / rate * float64(time.Second))
	return text + fmt.Sprintf(", %.1f MB/s, %s left", rate/1e6, left.Round(time.Second))
}

// installUnattended does what rancher.install says, and tells the consoles.
func (p places) installUnattended(c *cli.Context) error {
	say := func(format string, args ...any) {
		_ = kmsg.Announce("bulkhead: install: " + fmt.Sprintf(format, args...))
	}
	done, result, cfg, err := p.wishedInstallation(c.Context, say)
	switch {
	case err != nil:
		_ = kmsg.Announce(kmsg.Failure("install", err, "correct rancher.install, or install with ros install"))
		return err
	case done == "":
		text, err := json.Marshal(result)
		if err != nil {
			return err
		}
		say("done %s", text)
		if cfg.Reboot {
			return reboot()
		}
	default:
		say("%s", done)
	}
	return nil
}

// wishedInstallation installs, or says why there is nothing to do.
func (p places) wishedInstallation(ctx context.Context, say func(string, ...any)) (done string, result install.Result, cfg osconfig.Install, err error) {
	line, err := os.ReadFile(p.kernelLine)
	if err != nil {
		return "", result, cfg, err
	}
	all, _, _, err := p.load()
	if err != nil {
		return "", result, cfg, err
	}
	cfg = all.Rancher.Install
	if cfg.Device == "" {
		return "rancher.install.device is not set", result, cfg, nil
	}
	if slot := cmdline.Parse(string(line)).Get(layout.SlotParam); slot != "" {
		return "this system is an installed one", result, cfg, nil
	}
	wish := install.Wish{Device: string(cfg.Device), Force: cfg.Force, Args: cfg.Append, Given: cfg.ID}
	disk, err := wish.Find(install.Machine{Root: "/"})
	if err != nil {
		return "", result, cfg, err
	}
	was, err := wish.Judge(disk)
	if err != nil {
		return "", result, cfg, err
	}
	if was {
		return fmt.Sprintf("%s has this installation (%s) already: let the machine boot from it", disk.Path, wish.ID()), result, cfg, nil
	}
	files, err := p.runningConfig()
	if err != nil {
		return "", result, cfg, err
	}
	plan, err := newInstallation(disk, files, wish)
	if err != nil {
		return "", result, cfg, err
	}
	say("to %s, %s", disk.Path, gib(disk.Size))
	last := 0
	result, err = plan.Run(ctx, func(p work.Progress) {
		if p.Step != last {
			last = p.Step
			say("[%d/%d] %s", p.Step, p.Steps, p.Name)
		}
	})
	return "", result, cfg, err
}
