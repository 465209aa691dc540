package cli

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/urfave/cli/v2"
)

var update = flag.Bool("update", false, "write the manual page")

// manualPage is what the image of the layer ros has.
const manualPage = "../../../images/ros/rootfs/usr/share/man/man8/ros.8"

// The manual page has all commands as they are. After a change of one,
// go test ./cmd/ros/cli -run TestManual -update writes it.
func TestManual(t *testing.T) {
	p, _ := testPlaces(t)
	app := p.app(io.Discard, io.Discard)
	app.Description = asMarkdown(app.Description)
	forManual("ros", app.Commands)
	page, err := app.ToMan()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.MkdirAll(filepath.Dir(manualPage), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(manualPage, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(manualPage)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(have), page); diff != "" {
		t.Errorf("the manual page is not up to date; run go test ./cmd/ros/cli -run TestManual -update (-page +commands):\n%s", diff)
	}
}

// forManual puts all that is known of commands into the text that a manual page
// has of them.
func forManual(above string, commands []*cli.Command) {
	for _, c := range commands {
		line := above + " " + c.Name
		forManual(line, c.Subcommands)
		if len(c.Subcommands) == 0 {
			c.Usage = strings.TrimSpace(fmt.Sprintf("%s.\n\n    %s %s\n\n%s", c.Usage, line, c.ArgsUsage, asMarkdown(c.Description)))
		}
	}
}

// asMarkdown has what is indented in a help text stay in lines of its own.
func asMarkdown(help string) string {
	var out strings.Builder
	before := false
	for line := range strings.Lines(help) {
		indented := strings.HasPrefix(line, "   ")
		if indented && !before {
			out.WriteString("\n")
		}
		if indented {
			out.WriteString(" ")
		}
		out.WriteString(line)
		before = indented
	}
	return out.String()
}
