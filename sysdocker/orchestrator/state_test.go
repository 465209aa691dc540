package orchestrator

import (
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/sysdocker/control"
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

func TestStatesAreReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEngine()
		udev, broken := service("udev"), service("broken")
		udev.Service.Ready.Timeout = images.Duration(20 * time.Second)
		e.breakStart = func(name string) error {
			if name == "broken" {
				return errors.New("exec format error")
			}
			return nil
		}
		b := startOn(t, e, udev, service("network", "udev"), broken)
		expect := func(when string, want map[string]string) {
			t.Helper()
			synctest.Wait()
			b.mu.Lock()
			defer b.mu.Unlock()
			if diff := cmp.Diff(want, b.status.States); diff != "" {
				t.Errorf("%s, states differ:\n%s", when, diff)
			}
		}
		b.pass(time.Second)
		expect("at first", map[string]string{"udev": "starting", "network": "waiting", "broken": "retrying"})
		b.pass(20 * time.Second)
		expect("when udev is late", map[string]string{"udev": "late", "network": "starting", "broken": "retrying"})
		b.ready("udev", "network")
		expect("when they are ready", map[string]string{"udev": "running", "network": "running", "broken": "retrying"})
		b.expectError(b.ask(control.Stop, "network", ""))
		expect("when one is stopped", map[string]string{"udev": "running", "network": "stopped", "broken": "retrying"})
		if got := b.status.OS["broken"]; got != "it does not start: exec format error" {
			t.Errorf("problem of broken: %q", got)
		}
	})
}
