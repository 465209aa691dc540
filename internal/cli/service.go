package cli

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	"github.com/bulkhead-os/bulkhead/sysdocker/plan"
)

// askLimit is how long a daemon may take to answer one question.
const askLimit = 30 * time.Second

// A service is an OS service as people see it.
type service struct {
	Name   string `json:"name"`
	State  string `json:"state"`
	Health string `json:"health"`
	Status string `json:"status"`
}

// well tells whether nobody needs to look at the service.
func (s service) well() bool {
	return s.State == string(dockerapi.Running) && s.Health != dockerapi.Unhealthy
}

func (p places) serviceCommand() *cli.Command {
	return &cli.Command{
		Name:  "service",
		Usage: "the OS services",
		Subcommands: []*cli.Command{{
			Name:        "list",
			Aliases:     []string{"ls", "ps"},
			Usage:       "list the OS services with state and health",
			Description: "Each is a container: see system-docker ps, logs, inspect and exec.",
			Action: func(c *cli.Context) error {
				services, err := p.services(c.Context)
				if err != nil {
					return err
				}
				return writeServices(c.App.Writer, services)
			},
		}},
	}
}

// services asks the system daemon for the OS services.
func (p places) services(ctx context.Context) ([]service, error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	daemon, err := p.connect(p.systemSocket)
	if err != nil {
		return nil, err
	}
	defer daemon.Close()
	containers, err := daemon.Containers(ctx, plan.LabelService)
	if err != nil {
		return nil, err
	}
	services := make([]service, len(containers))
	for i, c := range containers {
		services[i] = service{Name: c.Name, State: string(c.State), Health: c.Health, Status: c.Status}
	}
	return services, nil
}

func writeServices(w io.Writer, services []service) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "NAME\tSTATE\tHEALTH\tSTATUS")
	for _, s := range services {
		health := s.Health
		if health == "none" {
			health = "-"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", s.Name, s.State, health, s.Status)
	}
	return t.Flush()
}
