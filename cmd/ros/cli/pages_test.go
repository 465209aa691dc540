package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/docker/cli/cli/command"
	"github.com/docker/cli/cli/command/commands"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/spf13/cobra"
	"github.com/urfave/cli/v2"

	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

// repository is where the pages are.
const repository = "../../../"

// A block is a block of code in a page.
type block struct {
	page string
	line int
	text string
}

func (b block) String() string { return fmt.Sprintf("%s:%d", b.page, b.line) }

// name is what the lists below call a block: its page and first line.
func (b block) name() string {
	first, _, _ := strings.Cut(b.text, "\n")
	return b.page + ": " + first
}

// unread are the blocks that nothing reads here, with the reason.
var unread = map[string]string{
	`docs/boot.md: bulkhead: FAILED step=mount-state cause="mount /dev/sda1 (ext4) on /state: …" remedy="…"`:                 "output; e2e TestDataSources waits for one",
	"docs/build.md: BULKHEAD_MIRROR=…            # what a sources.list line has, of the archive \"debian\"":                  "variables without a value",
	"docs/config.md: /var/lib/rancher/conf/cloud-config.yml:7:3: rancher.shh: unknown key; did you mean ssh?":                "output; os-config TestProblems compares such lines",
	`docs/install.md: bulkhead: install: done {"device":"/dev/sda","guid":"…","id":"…","version":"…","bytes":…,"seconds":…}`: "output; e2e TestInstall reads the real one",
	"docs/install.md: kernel vmlinuz console=ttyS0 panic=10 gpt rancher.install.device=auto":                                 "a boot menu of iPXE; e2e boots the same files with such a line",
	"docs/services.md: serial: 7": "a catalogue whose digest is cut short; cmd/ros/catalogues reads whole ones",
}

// foreign are programs of others in examples, with what tries them.
var foreign = map[string]string{
	"dd": "writes a real disk", "mkfs.vfat": "e2e TestNetworkConfig makes such a stick", "mount": "the same", "umount": "the same",
	"mkdir": "the same", "zstd": "the same, with another archive", "alias": "of the shell", "iscsiadm": "needs a server of iSCSI; e2e TestOptionalServices",
}

// Every block of code in the documentation is read as what it is, by the reader
// that reads it on a machine, or is in a list with the reason.
func TestPages(t *testing.T) {
	pages, err := filepath.Glob(repository + "docs/*.md")
	if err != nil || len(pages) < 15 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	for _, page := range []string{"README.md", "CONTRIBUTING.md", "SECURITY.md"} {
		pages = append(pages, repository+page)
	}
	listed := make(map[string]bool)
	counts := make(map[string]int)
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range blocks(strings.TrimPrefix(page, repository), string(text)) {
			if unread[b.name()] != "" {
				listed[b.name()] = true
				continue
			}
			kind, err := read(b)
			counts[kind]++
			if err != nil {
				t.Errorf("%s: %s: %v\n%s", b, kind, err, b.text)
			}
		}
	}
	for name := range unread {
		if !listed[name] {
			t.Errorf("no block %q; delete it from the list", name)
		}
	}
	for _, reason := range slices.Concat(slices.Collect(maps.Values(unread)), slices.Collect(maps.Values(foreign))) {
		for _, name := range tried.FindAllStringSubmatch(reason, -1) {
			if !defines(repository+name[1], name[2]) {
				t.Errorf("reason %q: %s has no %s", reason, name[1], name[2])
			}
		}
	}
	t.Logf("blocks: %v", counts)
	for _, kind := range []string{"cloud-config", "services", "commands", "Dockerfile", "JSON", "kernel parameters", "picture"} {
		if counts[kind] == 0 {
			t.Errorf("no block is taken for %s: is read right?", kind)
		}
	}
}

// Each kind of block has its mistakes found.
func TestPagesMistakes(t *testing.T) {
	for _, tt := range []struct{ text, kind, want string }{
		{"rancher:\n  shh: {port: 22}", "cloud-config", "unknown key"},
		{"web: {image: nginx, port: ['80:80']}", "services", "unknown key"},
		{"sudo ros service lst", "commands", "ros service lst: no such command"},
		{"ros config set --lasting a b", "commands", "ros config set has no flag --lasting"},
		{"docker run --rm-it busybox", "commands", "unknown flag: --rm-it"},
		{"sudo system-docker lgs network", "commands", "lgs network: no such command"},
		{"docker ps | frobnicate", "commands", "frobnicate: unknown program"},
		{"./scripts/fly", "commands", "no such file"},
		{"./scripts/run --fly", "commands", "--fly"},
		{"./build.sh -fly", "commands", "-fly"},
		{"go test ./os-config -fuzz FuzzNothing", "commands", "FuzzNothing"},
		{"FROM a\nCOPI b c", "Dockerfile", "unknown instruction"},
		{`{"a": }`, "JSON", "invalid character"},
		{"rancher.debg=true", "kernel parameters", "rancher.debg=true"},
	} {
		kind, err := read(block{"page", 1, tt.text})
		if kind != tt.kind || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q is %s with the mistake %v; want %s, %s", tt.text, kind, err, tt.kind, tt.want)
		}
	}
}

// blocks finds what stands between fences or is indented by four columns.
func blocks(page, text string) (found []block) {
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		first := i + 1
		var body []string
		switch {
		case strings.HasPrefix(strings.TrimSpace(lines[i]), "```"):
			for i++; i < len(lines) && !strings.HasPrefix(strings.TrimSpace(lines[i]), "```"); i++ {
				body = append(body, lines[i])
			}
		case strings.HasPrefix(lines[i], "    ") && i > 0 && strings.TrimSpace(lines[i-1]) == "":
			for ; i < len(lines) && (strings.HasPrefix(lines[i], "    ") || strings.TrimSpace(lines[i]) == ""); i++ {
				body = append(body, strings.TrimPrefix(lines[i], "    "))
			}
			i--
		default:
			continue
		}
		found = append(found, block{page, first, dedent(strings.TrimRight(strings.Join(body, "\n"), "\n "))})
	}
	return found
}

// dedent takes away the columns that all lines leave free: some blocks go on
// where the one before ended.
func dedent(text string) string {
	lines := strings.Split(text, "\n")
	free := len(text)
	for _, l := range lines {
		if strings.TrimSpace(l) != "" {
			free = min(free, len(l)-len(strings.TrimLeft(l, " ")))
		}
	}
	for n, l := range lines {
		lines[n] = l[min(free, len(l)):]
	}
	return strings.Join(lines, "\n")
}

var (
	serviceKey = regexp.MustCompile(`^[a-z]+:\s*(\{image: |\n\s+image: )`)
	parameter  = regexp.MustCompile(`^(rancher|cc)\.[a-z_.]+=`)
	tried      = regexp.MustCompile(`([a-z0-9-]+) (Test[A-Za-z]+)`)
	topKey     = regexp.MustCompile(`^[a-z_]+:\s`)
)

// read reads a block as what it looks like.
func read(b block) (kind string, err error) {
	switch {
	case strings.ContainsAny(b.text, "─│└├┌►▼"):
		return "picture", nil
	case strings.HasPrefix(b.text, "FROM "):
		return "Dockerfile", readDockerfile(b.text)
	case strings.HasPrefix(b.text, "{"):
		var v map[string]any
		return "JSON", json.Unmarshal([]byte(b.text), &v)
	case parameter.MatchString(b.text):
		return "kernel parameters", readParameters(b.text)
	case serviceKey.MatchString(b.text):
		_, problems := osconfig.ParseServices("", []byte(b.text))
		return "services", first(problems)
	case strings.HasPrefix(b.text, "#cloud-config\n"), topKey.MatchString(b.text):
		cfg := osconfig.Defaults()
		// A key that is cut short is no key.
		return "cloud-config", first(cfg.Merge("", []byte(strings.ReplaceAll(b.text, "ssh-ed25519 AAAA…", wholeKey))))
	}
	return "commands", readCommands(b.text)
}

const wholeKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE1WvrLH3EyZ1Q5W7UYdR4yQw8v9F1s0T2m3c4b5a6d7"

func first(problems []osconfig.Problem) error {
	for _, p := range problems {
		if p.Severity == osconfig.Error {
			return errors.New(p.String())
		}
	}
	return nil
}

func readDockerfile(text string) error {
	r, err := parser.Parse(strings.NewReader(text))
	if err != nil {
		return err
	}
	_, _, err = instructions.Parse(r.AST, nil)
	return err
}

// readParameters wants each parameter to change something.
func readParameters(line string) error {
	for word := range strings.FieldsSeq(line) {
		if parameter.MatchString(word) && reflect.DeepEqual(osconfig.FromKernelLine(word), osconfig.FromKernelLine("")) {
			return fmt.Errorf("%s changes nothing", word)
		}
	}
	return nil
}

var (
	comment = regexp.MustCompile(`(^|\s+)#\s.*$`)
	joint   = regexp.MustCompile(`\s*(&&|\|\||[|;])\s*`)
)

// readCommands looks at each command of a block, or, where lines begin with "$ ",
// of those.
func readCommands(text string) error {
	session := strings.HasPrefix(text, "$ ")
	for line := range strings.SplitSeq(text, "\n") {
		line, isCommand := strings.CutPrefix(line, "$ ")
		if session && !isCommand {
			continue
		}
		for _, c := range joint.Split(comment.ReplaceAllString(line, ""), -1) {
			words := strings.Fields(c)
			for len(words) > 0 && words[0] == "sudo" {
				words = words[1:]
			}
			if at := slices.Index(words, ">"); at >= 0 {
				words = words[:at]
			}
			if len(words) == 0 {
				continue
			}
			if err := readCommand(words[0], words[1:]); err != nil {
				return err
			}
		}
	}
	return nil
}

func readCommand(program string, args []string) error {
	switch {
	case program == "ros":
		return readRos(args)
	case program == "docker", program == "system-docker":
		return readDocker(args)
	case program == "go" && len(args) > 1 && args[0] == "test":
		return readGoTest(args[1:])
	case strings.HasPrefix(program, "./"):
		return readScript(program, args)
	case foreign[program] != "":
		return nil
	}
	return fmt.Errorf("%s: unknown program; is it on the machine? then say what tries it", program)
}

// readRos finds the command of a line and its flags.
func readRos(args []string) error {
	app := places{}.app(io.Discard, io.Discard)
	path, level, flags := "ros", app.Commands, []cli.Flag(nil)
	for _, a := range args {
		switch {
		case a == "--help":
		case strings.HasPrefix(a, "-"):
			name, _, _ := strings.Cut(strings.TrimLeft(a, "-"), "=")
			if !slices.ContainsFunc(flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), name) }) {
				return fmt.Errorf("%s has no flag %s", path, a)
			}
		case len(level) > 0:
			at := slices.IndexFunc(level, func(c *cli.Command) bool { return c.HasName(a) })
			if at < 0 {
				return fmt.Errorf("%s %s: no such command", path, a)
			}
			path, flags, level = path+" "+a, level[at].Flags, level[at].Subcommands
		}
	}
	return nil
}

// readDocker has Docker's own client parse a line.
func readDocker(args []string) error {
	client, err := command.NewDockerCli()
	if err != nil {
		return err
	}
	root := &cobra.Command{Use: "docker", TraverseChildren: true}
	root.PersistentFlags().String("context", "", "")
	commands.AddCommands(root, client)
	cmd, rest, err := root.Traverse(args)
	if err != nil {
		return err
	}
	if cmd == root || cmd.HasSubCommands() {
		return fmt.Errorf("%s: no such command", strings.Join(rest, " "))
	}
	return cmd.ParseFlags(rest)
}

// readScript wants the script to be there, and its flags to be named in it, or in
// the program that build.sh runs.
func readScript(program string, args []string) error {
	files := []string{repository + program}
	for script, sources := range map[string]string{"./build.sh": "cmd/mkos/*.go", "./scripts/run": "e2e/cmd/run/*.go"} {
		if program == script {
			more, err := filepath.Glob(repository + sources)
			if err != nil {
				return err
			}
			files = append(files, more...)
		}
	}
	var text strings.Builder
	for _, f := range files {
		part, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		text.Write(part)
	}
	for _, a := range args {
		name := strings.TrimLeft(a, "-")
		if name == a || name == "help" {
			continue
		}
		asFlag := regexp.MustCompile(`"` + regexp.QuoteMeta(name) + `"|(^|[\s|(])--?` + regexp.QuoteMeta(name) + `\b`)
		if !asFlag.MatchString(text.String()) {
			return fmt.Errorf("%s does not know %s", program, a)
		}
	}
	return nil
}

// readGoTest wants packages and tests to be there.
func readGoTest(args []string) error {
	var folder string
	for n, a := range args {
		switch {
		case strings.HasPrefix(a, "./"):
			folder = repository + a
			if _, err := os.Stat(folder); err != nil {
				return err
			}
		case n > 0 && slices.Contains([]string{"-fuzz", "-run", "-bench"}, args[n-1]):
			name, _, _ := strings.Cut(strings.Trim(a, `'"^$`), "/")
			if name != "" && !defines(folder, name) {
				return fmt.Errorf("%s has no %s", folder, name)
			}
		}
	}
	return nil
}

// defines reports whether a test whose name contains a text is in a folder.
func defines(folder, name string) bool {
	files, _ := filepath.Glob(folder + "/*_test.go")
	return slices.ContainsFunc(files, func(f string) bool {
		text, err := os.ReadFile(f)
		return err == nil && regexp.MustCompile(`(?m)^func (Test|Fuzz|Benchmark)\w*`).Match(text) &&
			regexp.MustCompile(`(?m)^func \w*`+regexp.QuoteMeta(name)).Match(text)
	})
}
