package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	"github.com/bulkhead-os/bulkhead/sysdocker/control"
	"github.com/bulkhead-os/bulkhead/sysdocker/plan"
)

// askLimit is how long a daemon may take to answer one question.
const askLimit = 30 * time.Second

// The tiers, as people see them.
const (
	systemTier = "system"
	userTier   = "user"
)

// A service is a service as people see it.
type service struct {
	Name string `json:"name"`
	// Tier is the Docker that runs it, "system" or "user".
	Tier string `json:"tier"`
	// Configured: it comes from rancher.services and is no part of the OS.
	Configured bool `json:"configured"`
	// State is what the orchestrator does about an OS service, Docker's, or one
	// of those below.
	State  string `json:"state"`
	Health string `json:"health"`
	// Image is the ID of an image that was not shipped, for an OS service.
	Image  string `json:"image,omitempty"`
	Status string `json:"status"`
	// Problem is what keeps it from running.
	Problem string `json:"problem,omitempty"`

	id, imageID string // of its container, "" without one
	// entry is its name in the configuration, if it is configured.
	entry string
}

// States besides Docker's and the orchestrator's.
const (
	running   = string(dockerapi.Running)
	stopped   = "stopped"   // by request, until another
	disabled  = "disabled"  // by rancher.services_include
	available = "available" // in the catalogue
	missing   = "missing"   // it has no container
)

// serviceArgument is the argument of commands for one service.
const serviceArgument = "SERVICE"

// well reports whether nobody needs to look at the service.
func (s service) well() bool {
	return s.State == string(dockerapi.Running) && s.Health != dockerapi.Unhealthy || s.State == stopped
}

func (p places) serviceCommand() *cli.Command {
	logFlags := []cli.Flag{
		boolFlag("follow", "go on with what it says from now on", "f"),
		&cli.StringFlag{Name: "tail", Aliases: []string{"n"}, Value: "all", Usage: "only the last `LINES`"},
	}
	return &cli.Command{
		Name:  "service",
		Usage: "the OS services, and those of the configuration",
		Description: "Each service is a container: see also system-docker ps, inspect and exec.\n\n" +
			"Examples:\n   sudo ros service list\n   sudo ros service logs -f network\n   sudo ros service enable ./web.yml\n   sudo ros service upgrade ntp ./ntp.tar",
		Subcommands: []*cli.Command{
			{
				Name: "list", Aliases: []string{"ls", "ps"},
				Usage:       "list the OS services with state, health and what keeps them from running",
				Description: "Examples:\n   sudo ros service list --all\n   sudo ros service list --json | jq -r '.[] | select(.health != \"healthy\").name'",
				Flags: []cli.Flag{
					boolFlag("all", "with those of the configuration and of the catalogue", "a"),
					boolFlag("json", "print JSON"),
				},
				Action: p.serviceList,
			},
			{
				Name: "logs", Usage: "print what a service has said", ArgsUsage: serviceArgument,
				Flags: logFlags, BashComplete: p.completeServices(logFlags...),
				Action: p.serviceLogs,
			},
			p.verbCommand(control.Stop, "stop a service; an OS service stays so over reboots",
				boolFlag("force", "stop also what people reach the machine by")),
			p.verbCommand(control.Start, "start a service that was stopped"),
			{
				Name: "restart", Usage: "stop a service and start it again", ArgsUsage: serviceArgument,
				BashComplete: p.completeServices(),
				Action:       p.onService(func(c *cli.Context, d engine, s service) error { return d.Restart(c.Context, s.id) }),
			},
			{
				Name: "kill", Usage: "kill a service's processes; an OS service starts again", ArgsUsage: serviceArgument,
				BashComplete: p.completeServices(),
				Action:       p.onService(func(c *cli.Context, d engine, s service) error { return d.Kill(c.Context, s.id) }),
			},
			p.upgradeCommand(),
			p.verbCommand(control.Rollback, "run an OS service from the image before its last upgrade"),
			p.historyCommand(),
			p.planCommand(),
			p.configuredCommand(control.Up, "up", "make services of the configuration what it says now, and start those that ended"),
			p.configuredCommand(control.Create, "create", "make their containers, without a start until ros service up"),
			p.buildCommand(),
			p.configuredCommand(control.Pull, "pull", "pull their images; ros service up does not replace what runs"),
			p.removeCommand(),
			p.enableCommand(),
			p.disableCommand(),
			p.refreshCommand(),
			p.deleteCommand(),
		},
	}
}

func (p places) serviceList(c *cli.Context) error {
	services, err := p.services(c.Context)
	if err == nil && c.Bool("all") {
		var configured []service
		configured, err = p.configured(c.Context)
		services = p.switchable(append(services, configured...))
	}
	// What one of the daemons said is worth seeing though the other is silent.
	if c.Bool("json") {
		return errors.Join(err, writeJSON(c.App.Writer, append([]service{}, services...)))
	}
	return errors.Join(err, writeServices(c.App.Writer, services))
}

// onService returns the action of a command that does something with one
// service, through the daemon that runs it.
func (p places) onService(do func(*cli.Context, engine, service) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		if err := arguments(c, 1); err != nil {
			return err
		}
		s, err := p.find(c.Context, c.Args().First())
		if err != nil {
			return err
		}
		if s.id == "" {
			return fmt.Errorf("service %s has no container: %s", s.Name, s.said())
		}
		daemon, err := p.connect(p.socket(s.Tier))
		if err != nil {
			return err
		}
		defer daemon.Close()
		return do(c, daemon, s)
	}
}

func (p places) serviceLogs(c *cli.Context) error {
	return p.onService(func(c *cli.Context, d engine, s service) error {
		return d.Logs(c.Context, s.id, c.String("tail"), c.Bool("follow"), c.App.Writer, c.App.ErrWriter)
	})(c)
}

// find returns the service with this name.
func (p places) find(ctx context.Context, name string) (service, error) {
	all, err := p.services(ctx)
	if err != nil {
		return service{}, err
	}
	named := func(s service) bool { return s.Name == name || s.entry == name }
	i := slices.IndexFunc(all, named)
	if i < 0 {
		var configured []service
		configured, err = p.configured(ctx)
		all = append(all, configured...)
		i = slices.IndexFunc(all, named)
	}
	if i >= 0 {
		return all[i], nil
	}
	var names []string
	for _, s := range all {
		names = append(names, s.Name)
	}
	return service{}, errors.Join(fmt.Errorf("there is no service %s; there are %s", name, strings.Join(names, ", ")), err)
}

// services asks the system daemon for the OS services.
func (p places) services(ctx context.Context) ([]service, error) {
	services, err := p.list(ctx, systemTier, plan.LabelService)
	if err != nil {
		return nil, err
	}
	records, status, err := p.wishes()
	if err != nil {
		return nil, err
	}
	for i, s := range services {
		r := records[s.Name]
		services[i].Image, services[i].Problem = r.Image, status.OS[s.Name]
		// A container that runs as it should is in Docker's state.
		if state := status.States[s.Name]; state != "" && state != running {
			services[i].State = state
		}
		services[i].rest(r)
	}
	return services, nil
}

// rest says that a service does not run because people stopped it, if so.
func (s *service) rest(r control.Record) {
	if r.Stopped && s.State != string(dockerapi.Running) {
		s.State, s.Health = stopped, "none"
	}
}

// withoutContainer is a service of the configuration or the catalogue that has
// no container.
func withoutContainer(name, state string) service {
	return service{Name: name, entry: name, Configured: true, State: state, Health: "none"}
}

// wishes are what people and the orchestrator left about services.
func (p places) wishes() (map[string]control.Record, control.Status, error) {
	records, err := control.Read(p.records)
	status, statusErr := control.ReadStatus(p.problems)
	// What the services do is more than what was wanted of them.
	if err = errors.Join(err, statusErr); errors.Is(err, fs.ErrPermission) {
		err = nil
	}
	return records, status, err
}

// configured asks the daemons for the services of the configuration, and adds
// those without a container.
func (p places) configured(ctx context.Context) (services []service, err error) {
	for _, tier := range []string{systemTier, userTier} {
		list, listErr := p.list(ctx, tier, plan.LabelConfigured)
		services = append(services, list...)
		err = errors.Join(err, listErr)
	}
	records, status, wishErr := p.wishes()
	err = errors.Join(err, wishErr)
	for i := range services {
		s := &services[i]
		s.Problem = status.Configured[s.entry]
		s.rest(records[control.ConfiguredKey(s.entry)])
	}
	for _, name := range slices.Sorted(maps.Keys(status.Configured)) {
		if !slices.ContainsFunc(services, func(s service) bool { return s.entry == name }) {
			s := withoutContainer(name, missing)
			s.Problem = status.Configured[name]
			services = append(services, s)
		}
	}
	return services, err
}

// socket is where the daemon of a tier listens.
func (p places) socket(tier string) string {
	if tier == userTier {
		return p.userSocket
	}
	return p.systemSocket
}

func (p places) containers(ctx context.Context, tier, label string) ([]dockerapi.Container, error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	daemon, err := p.connect(p.socket(tier))
	if err != nil {
		return nil, err
	}
	defer daemon.Close()
	return daemon.Containers(ctx, label)
}

func (p places) list(ctx context.Context, tier, label string) ([]service, error) {
	containers, err := p.containers(ctx, tier, label)
	if err != nil {
		return nil, err
	}
	if label == plan.LabelService {
		containers = slices.DeleteFunc(containers, func(c dockerapi.Container) bool { return plan.ServiceOf(c) == "" })
	}
	services := make([]service, len(containers))
	for i, c := range containers {
		services[i] = service{
			Name: c.Name, Tier: tier, State: string(c.State), Health: c.Health, Status: c.Status,
			Configured: label == plan.LabelConfigured, id: c.ID, imageID: c.ImageID, entry: c.Labels[plan.LabelConfigured],
		}
	}
	return services, nil
}

// said is what there is to know about a service in a few words.
func (s service) said() string {
	switch {
	case s.Problem == "":
		return s.Status
	case s.Status == "":
		return firstLine(s.Problem)
	}
	return s.Status + ": " + firstLine(s.Problem)
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

func writeServices(w io.Writer, services []service) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "NAME\tTIER\tSTATE\tHEALTH\tIMAGE\tSTATUS")
	for _, s := range services {
		health, image := s.Health, "shipped"
		if health == "none" {
			health = "-"
		}
		switch {
		case s.State == available:
			image = "catalogue"
		case s.Configured:
			image = "configured"
		case s.Image != "":
			image = control.ShortID(s.Image)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", s.Name, orDash(s.Tier), s.State, health, image, s.said())
	}
	return t.Flush()
}

// completeServices offers the names of services and the flags.
func (p places) completeServices(flags ...cli.Flag) cli.BashCompleteFunc {
	return func(c *cli.Context) {
		if services, err := p.services(c.Context); err == nil {
			for _, s := range services {
				fmt.Fprintln(c.App.Writer, s.Name)
			}
		}
		complete(nil, flags)(c)
	}
}
