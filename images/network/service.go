package network

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/bulkhead-os/bulkhead/internal/milestone"
	"github.com/bulkhead-os/bulkhead/internal/retry"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

const (
	// settle is how long interfaces may go on to come before a plan is made:
	// they come several at a time.
	settle = 200 * time.Millisecond
	// configPoll is how often the service looks whether the configuration is
	// complete: user data may come from the network itself.
	configPoll = time.Second
)

// A service is one run of the program network.
type service struct {
	log    *slog.Logger
	kernel interface {
		links() ([]Link, error)
		do(Action) error
		watch(ctx context.Context, changed func()) (follow func() error, err error)
	}
	dhcpcd *client
	// shipped is the file with the fixed part of dhcpcd's configuration.
	shipped string
	files   *publisher
	run     func(ctx context.Context, command osconfig.Command, iface string) error
	load    func() (osconfig.Config, error)
	// own gets the interfaces that are the machine's.
	own     func([]string)
	protect func(ctx context.Context, rules string) error
	// rules are those that protect has put into force.
	rules   string
	tunnels *tunnels

	cfg     osconfig.Network
	sshPort int
	// hooked are the interfaces whose commands have run.
	hooked map[string]bool
	told   map[string]bool // problems
}

// serve returns nil after a stop that ctx asked for.
func (s *service) serve(ctx context.Context) error {
	s.hooked, s.told = make(map[string]bool), make(map[string]bool)
	cfg, err := s.load()
	if err != nil {
		s.log.Warn("configuration is read in part", "err", err)
	}
	s.cfg, s.sshPort = cfg.Rancher.Network, cfg.Rancher.SSH.ListenPort()
	changed := make(chan struct{}, 1)
	watched := make(chan error, 1)
	follow, err := s.kernel.watch(ctx, func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	})
	if err != nil {
		return err
	}
	go func() { watched <- follow() }()
	defer s.dhcpcd.stop()
	if err := s.bringUp(ctx); err != nil {
		return err
	}

	late := time.AfterFunc(time.Duration(s.cfg.DHCPTimeout)*time.Second, func() {
		if err := s.files.markReady("no answer to DHCP within rancher.network.dhcp_timeout"); err != nil {
			s.log.Warn("cannot report that DHCP does not answer", "err", err)
		}
	})
	defer late.Stop()
	poll := time.NewTicker(configPoll)
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-watched:
			if ctx.Err() != nil {
				return nil
			}
			return err
		case err := <-s.dhcpcd.ended:
			s.log.Error("dhcpcd ended; it is started again", "err", err)
			retry.Sleep(ctx, time.Second)
			if err := s.dhcpcd.start(); err != nil {
				return err
			}
		case <-changed:
			retry.Sleep(ctx, settle)
			if err := s.apply(ctx); err != nil {
				return err
			}
		case <-poll.C:
			if !milestone.CloudInitDone.Reached() {
				continue
			}
			poll.Stop()
			if err := s.reload(ctx); err != nil {
				return err
			}
		}
	}
}

// reload applies a configuration that came while the service ran.
func (s *service) reload(ctx context.Context) error {
	cfg, err := s.load()
	if err != nil {
		s.log.Warn("configuration is read in part", "err", err)
	}
	if reflect.DeepEqual(cfg.Rancher.Network, s.cfg) && cfg.Rancher.SSH.ListenPort() == s.sshPort {
		return nil
	}
	s.log.Info("user data changed the network's configuration")
	s.cfg, s.sshPort = cfg.Rancher.Network, cfg.Rancher.SSH.ListenPort()
	clear(s.hooked)
	return s.bringUp(ctx)
}

// bringUp applies the configuration between its first and its last commands.
func (s *service) bringUp(ctx context.Context) error {
	s.commands(ctx, "pre_cmds", s.cfg.PreCmds, "")
	if err := s.apply(ctx); err != nil {
		return err
	}
	s.commands(ctx, "post_cmds", s.cfg.PostCmds, "")
	return nil
}

// apply makes a plan for the interfaces at hand and carries it out. What goes
// wrong with one interface is reported and concerns no other.
func (s *service) apply(ctx context.Context) error {
	links, err := s.kernel.links()
	if err != nil {
		return err
	}
	targets, problems := Plan(s.cfg, links)
	if !slices.ContainsFunc(targets, func(t Target) bool { return t.Name == "lo" }) {
		targets = append(targets, Target{Name: "lo"})
	}
	own := ownLinks(targets)
	s.own(own)
	if err := s.protectOwn(ctx, protection{own: own, forward: s.cfg.Forward, sshPort: s.sshPort, firewall: s.cfg.Firewall}); err != nil {
		s.log.Error("the machine's own rules", "err", err)
		if s.cfg.Firewall.On() {
			problems = append(problems, "rancher.network.firewall: not in force: "+err.Error())
		}
	}
	for _, a := range structure(targets, links) {
		s.do(a)
		s.tunnels.forget(a.Link)
	}
	if links, err = s.kernel.links(); err != nil {
		return err
	}
	there, ours := make(map[string]Link), make(map[string]bool)
	for _, l := range links {
		there[l.Name] = l
		ours[l.Name] = l.Made != ""
	}
	for _, t := range targets {
		l, ok := there[t.Name]
		if !ok {
			continue
		}
		first := !s.hooked[t.Name]
		s.hooked[t.Name] = true
		if first {
			s.commands(ctx, "interfaces."+t.Name+".pre_up", t.PreUp, t.Name)
		}
		if t.Kind == wireguard {
			if err := s.tunnels.set(ctx, t); err != nil {
				s.log.Error("tunnel", "link", t.Name, "err", err)
				problems = append(problems, fmt.Sprintf("rancher.network.interfaces.%s.wireguard: %v", t.Name, err))
			}
		}
		for _, a := range setup(t, l, ours, s.files.leased(t.Name)) {
			s.do(a)
		}
		if first {
			s.commands(ctx, "interfaces."+t.Name+".post_up", t.PostUp, t.Name)
		}
	}
	for name := range s.hooked {
		if _, ok := there[name]; !ok {
			delete(s.hooked, name) // it may come again
		}
	}
	return s.publish(targets, problems)
}

// protectOwn puts the rules into force if they have changed: each container that
// starts brings a link, and leads here.
func (s *service) protectOwn(ctx context.Context, p protection) error {
	rules := p.rules()
	if rules == s.rules {
		return nil
	}
	if err := s.protect(ctx, rules); err != nil {
		return err
	}
	s.rules = rules
	return nil
}

// publish tells the rest of the system, dhcpcd included, what there is.
func (s *service) publish(targets []Target, problems []string) error {
	shipped, err := os.ReadFile(s.shipped)
	if err != nil {
		return err
	}
	text, more := dhcpcdConfig(string(shipped), targets)
	problems = append(problems, more...)
	for _, p := range problems {
		if !s.told[p] {
			s.told[p] = true
			s.log.Warn("configuration", "problem", p)
		}
	}
	var static Facts
	for _, a := range s.cfg.DNS.Nameservers {
		static.Nameservers = appendNew(static.Nameservers, string(a))
	}
	for _, d := range s.cfg.DNS.Search {
		static.Search = appendNew(static.Search, string(d))
	}
	if err := s.files.publishPlan(static, targets, problems); err != nil {
		return err
	}
	return s.dhcpcd.configure(text)
}

func (s *service) do(a Action) {
	if err := s.kernel.do(a); err != nil {
		s.log.Error("interface", "link", a.Link, "action", a.String(), "err", err)
		return
	}
	s.log.Info("interface", "link", a.Link, "action", a.String())
}

// commands runs what the configuration gives; a failure is logged.
func (s *service) commands(ctx context.Context, key string, list []osconfig.Command, iface string) {
	for i, c := range list {
		if err := s.run(ctx, c, iface); err != nil {
			s.log.Error("command of the configuration", "key", fmt.Sprintf("rancher.network.%s[%d]", key, i),
				"command", strings.Join(c, " "), "err", err)
		}
	}
}
