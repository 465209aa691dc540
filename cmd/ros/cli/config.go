package cli

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"text/template"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/bulkhead-os/bulkhead/internal/layout"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
	"github.com/bulkhead-os/bulkhead/os-config/conffile"
)

func (p places) configCommand() *cli.Command {
	return &cli.Command{
		Name:    "config",
		Aliases: []string{"c"},
		Usage:   "the configuration of the machine",
		Description: "Keys are paths such as rancher.ssh.port; docs/config.md explains them. What set, delete and merge\n" +
			"write to " + layout.CloudConfig + " takes effect with ros config apply, or at the next boot.",
		Subcommands: []*cli.Command{
			p.applyCommand(),
			{
				Name: "get", Usage: "print the value that counts for a key", ArgsUsage: "KEY",
				Description: "Examples:\n   sudo ros config get rancher.ssh.port\n   sudo ros config get --json rancher.services",
				Flags:       []cli.Flag{boolFlag("json", "print JSON"), boolFlag("private", "show passwords and private keys", "p")}, BashComplete: completeKeys, Action: p.configGet,
			},
			{
				Name: "set", Usage: "set a key", ArgsUsage: "KEY VALUE",
				Description: "The value is YAML. It is checked first; comments and the order of the file stay.\n\n" +
					"Examples:\n   sudo ros config set hostname web1\n   sudo ros config set rancher.sysctl.net.core.somaxconn 4096\n" +
					"   sudo ros config set runcmd \"[docker network create front, [mkdir, -p, /opt/data]]\"",
				BashComplete: completeKeys, Action: p.configSet,
			},
			{
				Name: "delete", Aliases: []string{"del"}, Usage: "take a key away", ArgsUsage: "KEY",
				Description:  "Only from " + layout.CloudConfig + ": what another source sets counts again.\n\nExample:\n   sudo ros config delete rancher.debug",
				BashComplete: completeKeys, Action: p.configDelete,
			},
			{
				Name: "export", Usage: "print the whole configuration",
				Description: "Examples:\n   sudo ros config export > machine.yml\n   sudo ros config export --full --private --output /root/all.yml\n   sudo ros config export --boot",
				Flags:       []cli.Flag{boolFlag("full", "with defaults", "f"), boolFlag("boot", "only what the user data and metadata of the boot set", "b"), boolFlag("private", "show passwords and private keys", "p"), boolFlag("json", "print JSON"), fileFlag("output", "write to `FILE` instead of standard output", "o")},
				Action:      p.configExport,
			},
			{
				Name: "merge", Usage: "add all that a file sets",
				Description: "Maps are merged, lists are replaced. With a mistake in the file nothing happens.\n\n" +
					"Example:\n   sudo ros config merge --input more.yml",
				Flags: []cli.Flag{fileFlag("input", "read `FILE` instead of standard input", "i")}, Action: p.configMerge,
			},
			p.validateCommand(),
			{
				Name: "diff", Usage: "print what differs from the defaults",
				Description: "Example:\n   sudo ros config diff --origin",
				Flags:       []cli.Flag{boolFlag("origin", "tell where each value was set"), boolFlag("private", "show passwords and private keys", "p"), boolFlag("json", "print JSON")}, Action: p.configDiff,
			},
			{
				Name: "images", Usage: "list the images that a configuration needs",
				Flags: []cli.Flag{fileFlag("input", "read `FILE` instead of standard input", "i")}, Action: p.configImages,
			},
			{
				Name: "generate", Usage: "fill in a template from standard input",
				Description: "The template is one of Go's text/template; {{.NAME}} is a variable of the environment.\n\n" +
					"Example:\n   ros config generate < cloud-config.tmpl > cloud-config.yml",
				Action: func(c *cli.Context) error { return generate(c.App.Reader, c.App.Writer, os.Environ()) },
			},
			{
				Name: "schema", Usage: "print the JSON schema of configurations, for editors",
				Action: func(c *cli.Context) error {
					_, err := c.App.Writer.Write(osconfig.Schema())
					return err
				},
			},
			{
				Name: "syslinux", Usage: "not needed: kernel parameters are set in the boot menu",
				Action: func(*cli.Context) error {
					return errors.New("there is no syslinux here: press e in the boot menu to change kernel parameters once, or use ros config set for the same keys")
				},
			},
		},
	}
}

func boolFlag(name, usage string, aliases ...string) cli.Flag {
	return &cli.BoolFlag{Name: name, Aliases: aliases, Usage: usage}
}

func fileFlag(name, usage string, aliases ...string) cli.Flag {
	return &cli.StringFlag{Name: name, Aliases: aliases, Usage: usage}
}

// arguments checks how many arguments a command got. Options come first,
// since a value may begin with a hyphen.
func arguments(c *cli.Context, n int) error {
	if c.NArg() != n {
		return usageError{fmt.Errorf("%s %s takes %d arguments, options before them; got %d", c.Command.HelpName, c.Command.ArgsUsage, n, c.NArg())}
	}
	return nil
}

// load returns the configuration of the machine.
func (p places) load() (osconfig.Config, osconfig.Origins, []osconfig.Problem, error) {
	kernelLine, err := os.ReadFile(p.kernelLine)
	if err != nil {
		return osconfig.Config{}, nil, nil, err
	}
	cfg, origins, problems, err := osconfig.LoadWithOrigins(p.root, string(kernelLine))
	if errors.Is(err, fs.ErrPermission) {
		return cfg, nil, nil, withSudo(err)
	}
	if err != nil { // of one source; the others count
		problems = append(problems, osconfig.Problem{Source: layout.ConfDir, Text: err.Error()})
	}
	return cfg, origins, problems, nil
}

// withSudo tells what to do about a lack of rights.
func withSudo(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w; put sudo in front of the command", err)
	}
	return err
}

func (p places) configGet(c *cli.Context) error {
	if err := arguments(c, 1); err != nil {
		return err
	}
	key := c.Args().First()
	if err := osconfig.IsKey(key); err != nil {
		return usageError{err}
	}
	cfg, _, _, err := p.load()
	if err != nil {
		return err
	}
	return show(c, c.App.Writer, cfg, key, osconfig.View{Private: c.Bool("private")})
}

// show prints what is at a key.
func show(c *cli.Context, w io.Writer, cfg osconfig.Config, key string, view osconfig.View) error {
	write := view.YAML
	if c.Bool("json") {
		write = view.JSON
	}
	text, err := write(cfg, key)
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}

func (p places) configSet(c *cli.Context) error {
	if err := arguments(c, 2); err != nil {
		return err
	}
	key, value := c.Args().Get(0), c.Args().Get(1)
	return p.edit(c, func(old []byte) ([]byte, error) { return osconfig.Set(old, key, value) })
}

func (p places) configDelete(c *cli.Context) error {
	if err := arguments(c, 1); err != nil {
		return err
	}
	return p.edit(c, func(old []byte) ([]byte, error) { return osconfig.Delete(old, c.Args().First()) })
}

func (p places) configMerge(c *cli.Context) error {
	text, err := input(c, c.String("input"))
	if err != nil {
		return err
	}
	return p.edit(c, func(old []byte) ([]byte, error) { return osconfig.MergeText(old, text) })
}

// edit changes the user's own file.
func (p places) edit(c *cli.Context, change func([]byte) ([]byte, error)) error {
	return withSudo(conffile.Edit(c.Context, filepath.Join(p.root, layout.CloudConfig), func(old []byte) ([]byte, error) {
		edited, err := change(old)
		if err != nil {
			return nil, err
		}
		for _, p := range osconfig.Introduced(old, edited) {
			fmt.Fprintf(c.App.ErrWriter, "ros: %s: %s: %s\n", p.Severity, p.Key, p.Text)
		}
		return edited, nil
	}))
}

func (p places) configExport(c *cli.Context) error {
	if c.Bool("full") && c.Bool("boot") {
		return usageError{errors.New("--full and --boot exclude each other")}
	}
	cfg, origins, _, err := p.load()
	if err != nil {
		return err
	}
	view := osconfig.View{Private: c.Bool("private"), Only: origins}
	switch {
	case c.Bool("full"):
		view.Only = nil
	case c.Bool("boot"):
		maps.DeleteFunc(view.Only, func(_ string, o osconfig.Origin) bool { return !fromBoot(o) })
	}
	if c.String("output") == "" {
		return show(c, c.App.Writer, cfg, "", view)
	}
	var b bytes.Buffer
	if err := show(c, &b, cfg, "", view); err != nil {
		return err
	}
	return conffile.Write(c.String("output"), b.Bytes())
}

// fromBoot reports whether a value came with the user data or metadata of a boot.
func fromBoot(o osconfig.Origin) bool {
	part, _ := filepath.Match(layout.BootParts, o.Source) // the pattern is good
	return part || o.Source == layout.UserData || o.Source == layout.Metadata
}

// processorTime is what this process has used so far.
func processorTime() time.Duration {
	var used unix.Rusage
	// It fails for a wrong argument only.
	_ = unix.Getrusage(unix.RUSAGE_SELF, &used)
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// input reads a file, or standard input for "" and "-".
func input(c *cli.Context, file string) ([]byte, error) {
	in := c.App.Reader
	if file != "" && file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, withSudo(err)
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, osconfig.MaxContent+1))
	if err == nil && len(text) > osconfig.MaxContent {
		err = fmt.Errorf("the input has more than %d MiB", osconfig.MaxContent>>20)
	}
	return text, err
}

func (p places) configDiff(c *cli.Context) error {
	cfg, origins, _, err := p.load()
	if err != nil {
		return err
	}
	changes := osconfig.View{Private: c.Bool("private")}.Diff(cfg, origins)
	if c.Bool("json") {
		return writeJSON(c.App.Writer, append([]osconfig.Change{}, changes...))
	}
	t := tabwriter.NewWriter(c.App.Writer, 0, 0, 3, ' ', 0)
	fmt.Fprint(t, "KEY\tVALUE\tDEFAULT")
	if c.Bool("origin") {
		fmt.Fprint(t, "\tSET IN")
	}
	fmt.Fprintln(t)
	for _, ch := range changes {
		fmt.Fprintf(t, "%s\t%s\t%s", ch.Key, shorten(ch.Value), cmp.Or(ch.Default, "-"))
		if c.Bool("origin") {
			fmt.Fprintf(t, "\t%s", osconfig.Origin{Source: ch.Source, Line: ch.Line})
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}

// shorten keeps a table readable.
func shorten(text string) string {
	const most = 60
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}

func (p places) configImages(c *cli.Context) error {
	cfg := osconfig.Defaults()
	if file := c.String("input"); file != "" {
		text, err := input(c, file)
		if err != nil {
			return err
		}
		cfg.Merge(file, text)
	} else {
		var err error
		if cfg, _, _, err = p.load(); err != nil {
			return err
		}
	}
	images := make(map[string]bool)
	for _, s := range cfg.Rancher.Services {
		if s.Image != "" {
			images[s.Image] = true
		}
	}
	for _, image := range slices.Sorted(maps.Keys(images)) {
		fmt.Fprintln(c.App.Writer, image)
	}
	return nil
}

// generate fills in a template.
func generate(in io.Reader, out io.Writer, environ []string) error {
	text, err := io.ReadAll(io.LimitReader(in, osconfig.MaxContent))
	if err != nil {
		return err
	}
	t, err := template.New("standard input").Parse(string(text))
	if err != nil {
		return err
	}
	env := make(map[string]string)
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		env[name] = value
	}
	return t.Execute(out, env)
}

// completeKeys prints the keys that the word at the cursor may become.
func completeKeys(c *cli.Context) {
	if c.NArg() > 0 {
		return
	}
	for _, key := range osconfig.Complete(os.Getenv(wordVariable)) {
		fmt.Fprintln(c.App.Writer, key)
	}
}
