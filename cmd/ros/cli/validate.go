package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/urfave/cli/v2"

	osconfig "github.com/bulkhead-os/bulkhead/os-config"
	"github.com/bulkhead-os/bulkhead/os-config/datasource/netdata"
	"github.com/bulkhead-os/bulkhead/os-config/datasource/userdata"
	"github.com/bulkhead-os/bulkhead/sysdocker/plan"
)

func (p places) validateCommand() *cli.Command {
	return &cli.Command{
		Name: "validate", Usage: "look for mistakes in a file, or in the configuration of the machine", ArgsUsage: "[FILE | -]",
		Description: "The file is a cloud-config, user data of any other kind that a boot understands, a file of services, or\n" +
			"with --network what a configuration disk says about the network.\n" +
			"Ends with exit code 1 when there are mistakes; warnings are none.\n\n" +
			"Examples:\n   ros config validate cloud-config.yml\n   ros config validate --json - < cloud-config.yml\n" +
			"   ros config validate --network network-config\n   sudo ros config validate --machine --timings",
		Flags: []cli.Flag{
			fileFlag("input", "read `FILE` instead of standard input", "i"),
			boolFlag("json", "print JSON"),
			boolFlag("network", "the file is a network-config, network_data.json or interfaces(5)"),
			boolFlag("machine", "look at all that configures this machine"),
			boolFlag("timings", "tell how much processor time it took"),
		},
		Action: p.configValidate,
	}
}

func (p places) configValidate(c *cli.Context) error {
	if c.NArg() > 1 {
		return arguments(c, 1)
	}
	find := p.machineProblems
	if !c.Bool("machine") {
		file := cmp.Or(c.String("input"), c.Args().First(), "-")
		text, err := input(c, file)
		if err != nil {
			return err
		}
		source := cmp.Or(strings.TrimPrefix(file, "-"), "standard input")
		look := fileProblems
		if c.Bool("network") || strings.HasPrefix(filepath.Base(file), "network-config") {
			look = networkProblems
		}
		find = func() ([]osconfig.Problem, error) { return look(source, text), nil }
	}
	start := processorTime()
	problems, err := find()
	if err != nil {
		return err
	}
	if c.Bool("timings") {
		fmt.Fprintf(c.App.ErrWriter, "ros: read and checked in %.1f ms of processor time\n", (processorTime()-start).Seconds()*1000)
	}
	if c.Bool("json") {
		if err := writeJSON(c.App.Writer, append([]osconfig.Problem{}, problems...)); err != nil {
			return err
		}
	} else {
		for _, problem := range problems {
			fmt.Fprintln(c.App.Writer, problem)
		}
	}
	if osconfig.AnyError(problems) {
		return errSilent
	}
	return nil
}

// machineProblems are those of all that configures this machine, and of its
// hardware with that.
func (p places) machineProblems() ([]osconfig.Problem, error) {
	cfg, _, problems, err := p.load()
	if err != nil {
		return nil, err
	}
	problems = append(problems, serviceProblems("configuration", cfg, os.ReadFile)...)
	told, err := os.ReadFile(p.networkProblems)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, line := range lines(string(told)) {
		problems = append(problems, osconfig.Problem{Source: "network", Text: line})
	}
	return problems, nil
}

// fileProblems are those of user data of any kind, or of a file of services.
func fileProblems(source string, text []byte) []osconfig.Problem {
	if !userdata.Known(text) {
		if osconfig.IsServices(text) {
			_, problems := osconfig.ParseServices(source, text)
			return problems
		}
		cfg := osconfig.Defaults()
		problems := cfg.Merge(source, text)
		if userDataName.MatchString(filepath.Base(source)) {
			problems = append(problems, osconfig.Problem{Source: source, Text: "no boot takes it as user data: " + userdata.ErrKind.Error()})
		}
		return append(problems, otherServiceProblems(source, cfg)...)
	}
	var problems []osconfig.Problem
	// Whose address it is may answer this machine otherwise, or not at all.
	pass := func(_ context.Context, url string, _ bool) ([]byte, error) {
		problems = append(problems, osconfig.Problem{Severity: osconfig.Warning, Source: source, Text: "not looked at: #include " + url})
		return nil, nil
	}
	data, wheres, errs := userdata.ParseNamed(context.Background(), text, pass)
	for _, err := range errs {
		problem := osconfig.Problem{Source: source, Text: err.Error()}
		if _, is := errors.AsType[userdata.Notice](err); is {
			problem.Severity = osconfig.Warning
		}
		problems = append(problems, problem)
	}
	cfg := osconfig.Defaults()
	for n, config := range data.Configs {
		problems = append(problems, cfg.Merge(strings.TrimSpace(source+" "+wheres[n]), config)...)
	}
	return append(problems, otherServiceProblems(source, cfg)...)
}

// userDataName is what people and clouds call a file of user data.
var userDataName = regexp.MustCompile(`(?i)^user[-_]?data`)

// networkProblems are those of what a configuration disk says about the network.
func networkProblems(source string, text []byte) (problems []osconfig.Problem) {
	network, err := netdata.Read(text)
	problems = osconfig.ProblemsOf(source, err)
	config, err := network.CloudConfig()
	if err != nil {
		return append(problems, osconfig.Problem{Source: source, Text: err.Error()})
	}
	// Its lines are not those of the file.
	for _, problem := range new(osconfig.Config).Merge(source, config) {
		problem.Line, problem.Column = 0, 0
		problems = append(problems, problem)
	}
	return problems
}

// otherServiceProblems is serviceProblems for the configuration of another
// machine, whose files this one does not have.
func otherServiceProblems(source string, cfg osconfig.Config) []osconfig.Problem {
	return serviceProblems(source, cfg, func(string) ([]byte, error) { return nil, nil })
}

// serviceProblems are those that keep entries of rancher.services from becoming
// containers, in addition to the form of their keys.
func serviceProblems(source string, cfg osconfig.Config, readFile func(string) ([]byte, error)) (problems []osconfig.Problem) {
	// Another file may name the image.
	services := maps.Clone(cfg.Rancher.Services)
	maps.DeleteFunc(services, func(_ string, s osconfig.Service) bool { return s.Image == "" })
	_, mistakes := plan.Configure(services, cfg.Rancher.Environment, readFile)
	for _, m := range mistakes {
		m.Source = source
		problems = append(problems, m)
	}
	return problems
}
