package orchestrator

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The page about the orchestrator has the states as the code has them, in its
// table and in its drawing.
func TestStatesAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/orchestrator.md")
	if err != nil {
		t.Fatal(err)
	}
	_, page, found := strings.Cut(string(text), "## The states of a unit")
	if !found {
		t.Fatal("the page has no states")
	}
	page, _, _ = strings.Cut(page, "\n## ")
	quoted := regexp.MustCompile("`([a-z ]+)`")
	documented := make(map[State][]State)
	for line := range strings.Lines(page) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || !strings.HasPrefix(cells[1], " `") {
			continue
		}
		var next []State
		for _, m := range quoted.FindAllStringSubmatch(cells[3], -1) {
			next = append(next, State(m[1]))
		}
		documented[State(quoted.FindStringSubmatch(cells[1])[1])] = next
	}
	sorted := func(table map[State][]State) map[State][]State {
		for s, next := range table {
			table[s] = slices.Sorted(slices.Values(next))
		}
		return table
	}
	code := make(map[State][]State)
	for s, next := range follow {
		code[s] = slices.Clone(next)
	}
	if diff := cmp.Diff(sorted(code), sorted(documented)); diff != "" {
		t.Errorf("docs/orchestrator.md differs from follow (-code +page):\n%s", diff)
	}
	_, drawing, _ := strings.Cut(page, "```")
	drawing, _, _ = strings.Cut(drawing, "```")
	for s := range follow {
		if !strings.Contains(drawing, string(s)) {
			t.Errorf("the drawing has no state %s", s)
		}
	}
}

// Each file of the packages is in the page's table, and the other way round.
func TestFilesAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/orchestrator.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "## Where things are")
	var documented, files []string
	for _, m := range regexp.MustCompile("`(?:sysdocker/plan/)?([a-z]+\\.go)`").FindAllStringSubmatch(table, -1) {
		documented = append(documented, m[1])
	}
	for _, dir := range []string{".", "../plan"} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if name := e.Name(); strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") {
				files = append(files, name)
			}
		}
	}
	slices.Sort(files)
	slices.Sort(documented)
	if diff := cmp.Diff(slices.Compact(files), slices.Compact(documented)); diff != "" {
		t.Errorf("files (-there +page):\n%s", diff)
	}
}
