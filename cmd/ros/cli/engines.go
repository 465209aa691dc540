package cli

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/sysdocker/control"
	"github.com/bulkhead-os/bulkhead/sysdocker/plan"
)

// A furtherEngine is a user engine other than user Docker.
type furtherEngine struct {
	Name    string `json:"name"`
	Service string `json:"service"`
	// Socket is where its API is, Address where the ports are that its
	// containers publish.
	Socket  string `json:"socket"`
	Address string `json:"address"`
	// State and Health are the service's; Status is Docker's for both.
	State  string `json:"state"`
	Health string `json:"health"`
	Status string `json:"status"`
}

// engineName is a name that a service, a directory and a context can have.
var engineName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,29}$`)

func (p places) engineCreateCommand() *cli.Command {
	return &cli.Command{
		Name: "create", Usage: "create another user engine", ArgsUsage: "NAME",
		Description: "It is a Docker with a socket, data and a network of its own, and lasts until ros engine rm. Ports that its\n" +
			"containers publish are at its address, which this machine reaches. It is the service docker-NAME of ros service.\n\n" +
			"Examples:\n   sudo ros engine create ci\n   sudo docker -H unix:///run/docker-ci/docker.sock run hello-world\n" +
			"   sudo ros engine create --image 29.8.0 old",
		Flags: []cli.Flag{&cli.StringFlag{Name: "image", Usage: "of this `VERSION|IMAGE|ARCHIVE` instead of the shipped one"}},
		Action: func(c *cli.Context) error {
			service, err := engineServiceName(c)
			if err != nil {
				return err
			}
			r := control.Request{Verb: control.CreateEngine, Service: service}
			if ref := c.String("image"); ref != "" {
				if r.Image, _, err = p.engineID(c.Context, ref); err != nil {
					return err
				}
			}
			if err := p.request(c, r); err != nil {
				return err
			}
			name := c.Args().First()
			fmt.Fprintf(c.App.Writer, "Engine %[1]s runs. To use it:\n   docker context create %[1]s --docker host=unix://%[2]s\n   docker --context %[1]s ps\n",
				name, engineSocket(service))
			return nil
		},
	}
}

func (p places) engineRemoveCommand() *cli.Command {
	flags := []cli.Flag{boolFlag("yes", "do not ask", "y")}
	return &cli.Command{
		Name: "rm", Usage: "remove a user engine with its containers, images and volumes", ArgsUsage: "NAME", Flags: flags,
		Description: "Examples:\n   sudo ros engine rm ci\n   sudo ros engine rm --yes ci",
		BashComplete: func(c *cli.Context) {
			engines, _ := p.furtherEngines(c.Context)
			for _, e := range engines {
				fmt.Fprintln(c.App.Writer, e.Name)
			}
			complete(nil, flags)(c)
		},
		Action: func(c *cli.Context) error {
			service, err := engineServiceName(c)
			if err != nil {
				return err
			}
			records, err := control.Read(p.records)
			if err != nil {
				return withSudo(err)
			}
			name := c.Args().First()
			if records[service].Engine == 0 {
				return fmt.Errorf("there is no engine %s: see ros engine list", name)
			}
			if err := confirm(c, fmt.Sprintf("Engine %s goes with all its containers, images and volumes.", name)); err != nil {
				return err
			}
			if err := p.request(c, control.Request{Verb: control.RemoveEngine, Service: service}); err != nil {
				return err
			}
			fmt.Fprintf(c.App.Writer, "Engine %s is removed.\n", name)
			return nil
		},
	}
}

// engineServiceName is the service of the engine that the command's argument
// names.
func engineServiceName(c *cli.Context) (string, error) {
	if err := arguments(c, 1); err != nil {
		return "", err
	}
	name := c.Args().First()
	if !engineName.MatchString(name) {
		return "", usageError{fmt.Errorf("engine name %q: want up to 30 of a-z, 0-9 and -", name)}
	}
	return layout.UserEngines + name, nil
}

// engineSocket is where the API of a further engine is.
func engineSocket(service string) string {
	return layout.UserEngineRun + service + "/" + layout.UserEngineSocket
}

// furtherEngines lists the user engines other than user Docker.
func (p places) furtherEngines(ctx context.Context) ([]furtherEngine, error) {
	records, err := control.Read(p.records)
	if err != nil {
		return nil, withSudo(err)
	}
	services, err := p.services(ctx)
	if err != nil {
		return nil, err
	}
	engines := []furtherEngine{}
	for _, s := range services {
		number := records[s.Name].Engine
		if number == 0 {
			continue
		}
		engines = append(engines, furtherEngine{
			Name: strings.TrimPrefix(s.Name, layout.UserEngines), Service: s.Name, Socket: engineSocket(s.Name),
			Address: plan.EngineAddress(number, plan.EngineEnd), State: s.State, Health: s.Health, Status: s.Status,
		})
	}
	return engines, nil
}
