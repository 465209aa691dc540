package habits

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const contributing = "CONTRIBUTING.md"

var (
	codeSpan  = regexp.MustCompile("`([^`]+)`")
	heading   = regexp.MustCompile("`(docs/[a-z-]+\\.md)`, ([A-Z][A-Za-z ]+)")
	testNames = regexp.MustCompile(`\bTest[A-Za-z]+`)
)

// TestTasks holds the table of tasks against the tree: each file, heading,
// package and test exists.
func TestTasks(t *testing.T) {
	text, err := os.ReadFile("../../" + contributing)
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(text), "\n| Task | Files | Test |\n|---|---|---|\n")
	if !ok {
		t.Fatalf("%s has no table of tasks", contributing)
	}
	table, _, _ = strings.Cut(table, "\n\n")
	tasks, files, tests := 0, 0, 0
	for row := range strings.Lines(table) {
		cells := strings.Split(strings.ReplaceAll(row, `\|`, "\x00"), "|")
		if len(cells) != 5 {
			t.Errorf("a row has a task, files and a test: %s", row)
			continue
		}
		task := strings.TrimSpace(cells[1])
		tasks++
		for _, m := range heading.FindAllStringSubmatch(cells[2], -1) {
			page, err := os.ReadFile("../../" + m[1])
			if err != nil || !strings.Contains(string(page), "\n## "+strings.TrimSpace(m[2])+"\n") {
				t.Errorf("%s: %s has no heading %q", task, m[1], m[2])
			}
		}
		for _, m := range codeSpan.FindAllStringSubmatch(cells[2]+cells[3], -1) {
			span := strings.ReplaceAll(m[1], "\x00", "|")
			switch {
			case strings.HasPrefix(span, "go "):
				names := testNames.FindAllString(span, -1)
				tests += len(names)
				for _, missing := range missingTests(t, strings.Fields(span), names) {
					t.Errorf("%s: %s: no %s", task, span, missing)
				}
			case strings.Contains(span, "/") && !strings.HasPrefix(span, "/"):
				files++
				pattern := strings.ReplaceAll(span, "<service>", "*")
				if found, err := filepath.Glob("../../" + pattern); err != nil || len(found) == 0 {
					t.Errorf("%s: there is no %s", task, span)
				}
			}
		}
	}
	if tasks < 10 || files < 20 || tests < 10 {
		t.Errorf("only %d tasks, %d files and %d tests looked at", tasks, files, tests)
	}
}

// missingTests returns which of a command's packages, and of the tests that it
// names, do not exist.
func missingTests(t *testing.T, command, names []string) []string {
	t.Helper()
	var code strings.Builder
	var missing []string
	for _, word := range command {
		if !strings.HasPrefix(word, "./") {
			continue
		}
		files, err := filepath.Glob(filepath.Join("../..", word, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		if len(files) == 0 {
			missing = append(missing, "tests in "+word)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			code.Write(text)
		}
	}
	for _, name := range names {
		if !strings.Contains(code.String(), "\nfunc "+name+"(") {
			missing = append(missing, name)
		}
	}
	return missing
}
