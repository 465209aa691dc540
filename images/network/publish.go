package network

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-os/bulkhead/internal/hostname"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/milestone"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

// staticFacts is the file with what the configuration says. Those of protocols
// have a name of two parts.
const staticFacts = "static.json"

// A publisher hands on what is known about the network. Its fields are where
// things are.
type publisher struct {
	log                                             *slog.Logger
	dir, etc, ntp, hostname, links, plans, problems string
	ready                                           milestone.Milestone
}

func newPublisher(log *slog.Logger) *publisher {
	return &publisher{
		log: log, dir: layout.NetworkDir, ready: milestone.NetworkReady, etc: layout.EtcDir, ntp: layout.NTPDir,
		hostname: layout.HostHostname, links: "/sys/class/net", plans: layout.NetworkLinks, problems: layout.NetworkProblems,
	}
}

// publishPlan writes down what the configuration says and what of it has no
// effect, and forgets what protocols said on interfaces that they no longer serve.
func (p *publisher) publishPlan(static Facts, targets []Target, problems []string) error {
	var lines strings.Builder
	var dynamic []string
	for _, t := range targets {
		switch {
		case t.dynamic():
			dynamic = append(dynamic, t.Name)
			fmt.Fprintln(&lines, t.Name, dynamicMark)
		case t.addressed() && t.Name != "lo":
			fmt.Fprintln(&lines, t.Name)
		}
	}

	files, err := p.factFiles()
	if err != nil {
		return err
	}
	for _, file := range files {
		name := filepath.Base(file)
		iface := strings.TrimSuffix(name, filepath.Ext(strings.TrimSuffix(name, ".json"))+".json")
		if name != staticFacts && !slices.Contains(dynamic, iface) {
			if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	if _, err := writeFacts(filepath.Join(p.dir, staticFacts), static); err != nil {
		return err
	}
	var told strings.Builder
	for _, problem := range problems {
		fmt.Fprintln(&told, problem)
	}
	if err := rewrite(p.problems, told.String()); err != nil {
		return err
	}
	if err := rewrite(p.plans, lines.String()); err != nil {
		return err
	}
	if err := p.publish(); err != nil {
		return err
	}
	if len(dynamic) == 0 {
		return p.markReady("")
	}
	return nil // a hook does
}

// factFiles lists the files of facts: the configuration's first, then DHCP's
// before those of router advertisements.
func (p *publisher) factFiles() ([]string, error) {
	files, err := filepath.Glob(p.dir + "/*.*.json")
	if err != nil {
		return nil, err
	}
	static := filepath.Join(p.dir, staticFacts)
	if _, err := os.Stat(static); err == nil {
		files = append([]string{static}, files...)
	}
	return files, nil
}

func (p *publisher) facts(files []string) ([]Facts, error) {
	var all []Facts
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		var f Facts
		if err := json.Unmarshal(raw, &f); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, f)
	}
	return all, nil
}

// leased returns the addresses that DHCP gave an interface.
func (p *publisher) leased(iface string) []netip.Addr {
	all, err := p.facts([]string{filepath.Join(p.dir, iface+".dhcp.json")})
	if err != nil {
		p.log.Warn("leases are not known", "link", iface, "err", err)
	}
	var list []netip.Addr
	for _, f := range all {
		if a, err := netip.ParseAddr(f.Address); err == nil {
			list = append(list, a)
		}
	}
	return list
}

// publish rewrites everything that depends on the facts. The service and
// its hooks take turns.
func (p *publisher) publish() error {
	turn, err := os.OpenFile(filepath.Join(p.dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer turn.Close()
	if err := unix.Flock(int(turn.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", turn.Name(), err)
	}
	files, err := p.factFiles()
	if err != nil {
		return err
	}
	all, err := p.facts(files)
	if err != nil {
		return err
	}
	f := merge(all)
	return errors.Join(
		rewrite(p.etc+"/resolv.conf", f.resolvConf()),
		rewrite(p.ntp+"/dhcp.sources", f.chronySources()),
		p.setHostname(f.Hostname),
	)
}

// setHostname names a machine that has no name of its own yet.
func (p *publisher) setHostname(name string) error {
	old, err := os.ReadFile(p.hostname)
	if err != nil {
		return err
	}
	current := strings.TrimSpace(string(old))
	if name == "" || current != hostname.Default || name == current || len(name) > 64 {
		return nil
	}
	p.log.Info("host name from DHCP", "name", name)
	hosts, err := os.ReadFile(p.etc + "/hosts")
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(p.hostname, []byte(name), 0),
		rewrite(p.etc+"/hostname", name+"\n"),
		rewrite(p.etc+"/hosts", renameHost(string(hosts), name)),
	)
}

// renameHost changes the line of /etc/hosts for the machine itself, in which
// the short name follows the long one.
func renameHost(hosts, name string) string {
	names := name
	if short := osconfig.Hostname(name).Short(); short != name {
		names += " " + short
	}
	lines := strings.Split(hosts, "\n")
	for i, line := range lines {
		if f := strings.Fields(line); len(f) > 0 && f[0] == "127.0.1.1" {
			lines[i] = "127.0.1.1 " + names
		}
	}
	return strings.Join(lines, "\n")
}

// dynamicMark stands behind the interfaces of layout.NetworkLinks that DHCP serves.
const dynamicMark = "dhcp"

// plugged reports whether any interface that DHCP serves has a carrier.
func (p *publisher) plugged() bool {
	plan, _ := os.ReadFile(p.plans) // absent before the first plan
	for line := range strings.Lines(string(plan)) {
		name, isDynamic := strings.CutSuffix(strings.TrimSpace(line), " "+dynamicMark)
		if !isDynamic {
			continue
		}
		raw, err := os.ReadFile(filepath.Join(p.links, name, "carrier")) // EINVAL while the link is down
		if err == nil && strings.TrimSpace(string(raw)) == "1" {
			return true
		}
	}
	return false
}

// markReady reports that the network is as ready as it will get. reason is set
// if it is not usable.
func (p *publisher) markReady(reason string) error {
	f, err := os.OpenFile(string(p.ready), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if reason != "" {
		p.log.Warn("the boot goes on", "because", reason)
	}
	return f.Close()
}

// rewrite changes a file in place, since containers have it bound, and only
// if its content changes. The new text is written before the file is cut, so
// that nobody finds it empty.
func rewrite(path, text string) error {
	old, err := os.ReadFile(path)
	if err == nil && string(old) == text {
		return nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Truncate(int64(len(text))), f.Close())
}
