package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/bulkhead-os/bulkhead/internal/bootlog"
	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/meminfo"
	"github.com/bulkhead-os/bulkhead/internal/slots"
	"github.com/bulkhead-os/bulkhead/internal/version"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
	"github.com/bulkhead-os/bulkhead/os-config/conffile"
)

// status is the machine on one screen. What could not be found out is left
// empty, and Problems says why.
type status struct {
	Version  string          `json:"version"`
	Boot     *bootlog.Report `json:"boot,omitempty"`
	System   *dockerapi.Info `json:"system_docker,omitempty"`
	User     *dockerapi.Info `json:"user_docker,omitempty"`
	Services []service       `json:"services"`
	State    stateMedium     `json:"state"`
	// Systems are those on the disk; none if the machine does not run from one.
	Systems  []slots.System `json:"systems,omitempty"`
	Memory   memory         `json:"memory"`
	UserTier *tierUse       `json:"user_tier,omitempty"`
	Problems []string       `json:"problems"`
}

// tierUse is what user Docker, further engines and all their containers take
// together, and may take; 0 is no limit. Sizes are in bytes.
type tierUse struct {
	Memory    int64 `json:"memory"`
	MemoryMax int64 `json:"memory_max"`
	Swap      int64 `json:"swap"`
	SwapMax   int64 `json:"swap_max"`
	Pids      int64 `json:"pids"`
	PidsMax   int64 `json:"pids_max"`
	// Killed is how many processes the kernel has ended because memory ran out.
	Killed int64 `json:"oom_killed"`
}

// stateMedium is where the state lives; sizes are in bytes.
type stateMedium struct {
	Device     string `json:"device"`
	FileSystem string `json:"file_system"`
	Total      int64  `json:"total"`
	Available  int64  `json:"available"`

	dir string // where it is mounted
}

func (s stateMedium) used() int64 { return s.Total - s.Available }

// short reports whether there is hardly room left for images, or for logs.
func (s stateMedium) short() bool { return s.Total > 0 && s.Available < s.Total/20 }

const mib = 1 << 20

// memory is in bytes.
type memory struct {
	Total     int64 `json:"total"`
	Available int64 `json:"available"`
}

func (p places) statusCommand() *cli.Command {
	return &cli.Command{
		Name:  "status",
		Usage: "show the machine on one screen",
		Description: "Ends with exit code 1 when something is wrong.\n\n" +
			"Examples:\n   sudo ros status\n   sudo ros status --json | jq .services",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "json", Usage: "print JSON"}},
		Action: func(c *cli.Context) error {
			s := p.status(c.Context)
			write := s.write
			if c.Bool("json") {
				write = func(w io.Writer) error { return writeJSON(w, s) }
			}
			err := write(c.App.Writer)
			if err == nil && len(s.Problems) > 0 {
				return errSilent
			}
			return err
		},
	}
}

func (p places) status(ctx context.Context) status {
	s := status{Version: version.Version, Problems: []string{}}
	problem := func(format string, args ...any) { s.Problems = append(s.Problems, fmt.Sprintf(format, args...)) }

	if report, err := p.readReport(); err != nil {
		problem("%v", err)
	} else {
		s.Boot = &report
	}
	var err error
	if s.System, err = p.info(ctx, p.systemSocket); err != nil {
		problem("system Docker: %v", err)
	} else if s.Services, err = p.services(ctx); err != nil {
		problem("services: %v", err)
	}
	if s.User, err = p.info(ctx, p.userSocket); err != nil {
		problem("user Docker: %v", err)
	}
	for _, sv := range s.Services {
		if !sv.well() {
			problem("service %s is %s, health %s: see system-docker logs %s", sv.Name, sv.State, sv.Health, sv.Name)
		}
	}
	s.State, err = readFile(p.mountinfo, parseState)
	if err == nil {
		s.State.Total, s.State.Available, err = p.space(s.State.dir)
	}
	if err != nil {
		problem("state: %v", err)
	}
	if s.State.short() {
		problem("state: %d MiB are left; docker system prune removes what is not in use", s.State.Available/mib)
	}
	if s.Systems, err = p.systems(); err != nil {
		problem("systems on the disk: %v", err)
	}
	configuration, err := conffile.ProblemFile(p.configProblems).Read()
	if err != nil {
		problem("%v", err)
	}
	for _, m := range osconfig.Errors(configuration) {
		problem("configuration: %v", m)
	}
	type report struct{ file, about string }
	reports := []report{
		{p.upgradeFailed, "upgrade failed (ros os history)"},
		{p.networkProblems, "network"},
		{p.userFailure, "user Docker"},
		{p.userProblems, "user Docker"},
	}
	for _, file := range p.preloadProblems {
		reports = append(reports, report{file, "images"})
	}
	for _, report := range reports {
		text, err := os.ReadFile(report.file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			problem("%v", err)
		}
		for _, line := range lines(string(text)) {
			problem("%s: %s", report.about, line)
		}
	}
	if s.Memory, err = readFile(p.meminfo, parseMemory); err != nil {
		problem("memory: %v", err)
	}
	if tier, err := readUserTier(p.userTier); err != nil {
		problem("user tier: %v", err)
	} else {
		s.UserTier = &tier
	}
	return s
}

func (p places) info(ctx context.Context, socket string) (*dockerapi.Info, error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	daemon, err := p.connect(socket)
	if err != nil {
		return nil, err
	}
	defer daemon.Close()
	info, err := daemon.Info(ctx)
	if err != nil {
		return nil, err
	}
	return &info, nil
}

func (s status) write(w io.Writer) error {
	out := bufio.NewWriter(w)
	line := func(key, format string, args ...any) {
		fmt.Fprintf(out, "%-14s %s\n", key, fmt.Sprintf(format, args...))
	}
	line("Bulkhead", "%s", s.Version)
	if b := s.Boot; b != nil {
		line("Kernel", "%s", b.Kernel)
		line("Ready after", "%.1f s (system Docker %.1f s, user Docker %.1f s)", b.Ready, b.SystemDocker, b.UserDocker)
	}
	for _, d := range []struct {
		name string
		info *dockerapi.Info
	}{{"System Docker", s.System}, {"User Docker", s.User}} {
		if i := d.info; i != nil {
			line(d.name, "%s, %d of %d containers running, %d images", i.Version, i.Running, i.Containers, i.Images)
		}
	}
	switch {
	case s.State.FileSystem == "tmpfs":
		line("State", "RAM: nothing outlives a reboot; %d MiB in use of %d MiB", s.State.used()/mib, s.State.Total/mib)
	case s.State.Device != "":
		line("State", "%s (%s), %d MiB in use of %d MiB", s.State.Device, s.State.FileSystem, s.State.used()/mib, s.State.Total/mib)
	}
	for _, sys := range s.Systems {
		line("Slot "+string(sys.Slot), "%s, %s", choose(sys.Version == "", "-", sys.Version), systemState(sys))
	}
	line("Memory", "%d MiB in use of %d MiB", (s.Memory.Total-s.Memory.Available)/mib, s.Memory.Total/mib)
	if t := s.UserTier; t != nil {
		line("User tier", "%d MiB in use of %s, %d processes of %s", t.Memory/mib, limitText(t.MemoryMax/mib, " MiB"), t.Pids, limitText(t.PidsMax, ""))
		if t.SwapMax > 0 {
			line("", "%d MiB of swap in use of %d MiB", t.Swap/mib, t.SwapMax/mib)
		}
		if t.Killed > 0 {
			line("", "%d processes killed since the boot because memory ran out: dmesg names them", t.Killed)
		}
	}
	if len(s.Services) > 0 {
		fmt.Fprintln(out)
		if err := writeServices(out, s.Services); err != nil {
			return err
		}
	}
	if len(s.Problems) > 0 {
		fmt.Fprintln(out, "\nProblems")
		for _, p := range s.Problems {
			fmt.Fprintf(out, "  %s\n", strings.ReplaceAll(p, "\n", "\n  "))
		}
	}
	return out.Flush()
}

// lines returns those of a text that are not empty.
func lines(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == '\n' })
}

func limitText(n int64, unit string) string {
	if n == 0 {
		return "any number"
	}
	return strconv.FormatInt(n, 10) + unit
}

// readUserTier reads a cgroup (cgroup-v2.rst). Memory without what the kernel
// can take back at once would be a guess; it is all that is charged.
func readUserTier(dir string) (t tierUse, err error) {
	for _, f := range []struct {
		name string
		into *int64
	}{
		{"memory.current", &t.Memory},
		{"memory.max", &t.MemoryMax},
		{"memory.swap.current", &t.Swap},
		{"memory.swap.max", &t.SwapMax},
		{"pids.current", &t.Pids},
		{"pids.max", &t.PidsMax},
	} {
		text, err := os.ReadFile(filepath.Join(dir, f.name))
		if err != nil {
			return t, err
		}
		if value := strings.TrimSpace(string(text)); value != "max" {
			if *f.into, err = strconv.ParseInt(value, 10, 64); err != nil {
				return t, fmt.Errorf("%s: %w", f.name, err)
			}
		}
	}
	events, err := os.ReadFile(filepath.Join(dir, "memory.events"))
	if err != nil {
		return t, err
	}
	for line := range strings.Lines(string(events)) {
		if n, ok := strings.CutPrefix(strings.TrimSpace(line), "oom_kill "); ok {
			if t.Killed, err = strconv.ParseInt(n, 10, 64); err != nil {
				return t, fmt.Errorf("memory.events: %w", err)
			}
		}
	}
	return t, nil
}

// space returns the size of the file system that dir is in, and what of it is
// free for anybody, in bytes.
func space(dir string) (total, available int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, fmt.Errorf("space of %s: %w", dir, err)
	}
	return int64(st.Blocks) * st.Bsize, int64(st.Bavail) * st.Bsize, nil
}

func readFile[T any](path string, parse func(io.Reader) (T, error)) (T, error) {
	f, err := os.Open(path)
	if err != nil {
		return *new(T), err
	}
	defer f.Close()
	return parse(f)
}

// parseState finds the file system that holds the configuration in a
// mountinfo file.
func parseState(r io.Reader) (stateMedium, error) {
	var s stateMedium
	mounts, err := mountinfo.GetMountsFromReader(r, nil)
	for _, m := range mounts {
		// A later mount on the same directory hides the earlier.
		if strings.HasPrefix(layout.ConfDir+"/", strings.TrimSuffix(m.Mountpoint, "/")+"/") && len(m.Mountpoint) >= len(s.dir) {
			s = stateMedium{Device: m.Source, FileSystem: m.FSType, dir: m.Mountpoint}
		}
	}
	return s, err
}

// parseMemory reads /proc/meminfo.
func parseMemory(r io.Reader) (memory, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return memory{}, err
	}
	m, err := meminfo.Parse(string(text))
	return memory{Total: m.Total, Available: m.Available}, err
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
