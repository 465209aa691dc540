package habits

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDecisions holds the list of decisions against the pages, and each page
// against the template.
func TestDecisions(t *testing.T) {
	const dir = "../../docs/adr/"
	list, err := os.ReadFile(dir + "README.md")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob(dir + "[0-9]*.md")
	if err != nil {
		t.Fatal(err)
	}
	template := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(page)
		if strings.HasPrefix(name, "000") {
			template++
			continue
		}
		var number int
		if _, err := fmt.Sscanf(name, "%03d-", &number); err != nil {
			t.Errorf("%s: a page is called NNN-words.md", name)
			continue
		}
		title, rest, _ := bytes.Cut(text, []byte("\n"))
		decision, ok := strings.CutPrefix(string(title), fmt.Sprintf("# %d. ", number))
		if !ok {
			t.Errorf("%s begins with %q; want # %d. and the decision", name, title, number)
		}
		if line := fmt.Sprintf("| [%d](%s) | %s | ", number, name, decision); !bytes.Contains(list, []byte(line)) {
			t.Errorf("docs/adr/README.md has no line %q", line)
		}
		at := 0
		for _, part := range []string{"\n**Status:**", "**Code:**", "\n## Question\n", "\n## Considered\n", "\n## Decision\n", "\n## Consequences\n"} {
			i := bytes.Index(rest[at:], []byte(part))
			if i < 0 {
				t.Errorf("%s has no %q where the template has it", name, strings.TrimSpace(part))
				break
			}
			at += i
		}
	}
	if template != 1 || len(pages) < 2 {
		t.Errorf("%d pages and %d templates in docs/adr", len(pages), template)
	}
	if got, want := bytes.Count(list, []byte("\n| [")), len(pages)-template; got != want {
		t.Errorf("docs/adr/README.md lists %d decisions; there are %d", got, want)
	}
}
