package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// logDir is where logs and figures go.
const logDir = "dist/test"

// A suite is what all stages share.
type suite struct {
	// full asks for what a release has to pass.
	full bool
	// machines is how many virtual machines run side by side.
	machines int
	// packages are the module's, without e2e itself.
	packages []string
	logs     string
	// env is the environment of stages, compile what those that compile tests
	// have besides.
	env, compile []string
}

func newSuite(ctx context.Context) (*suite, error) {
	logs, err := filepath.Abs(logDir)
	if err != nil {
		return nil, err
	}
	if err := os.RemoveAll(logs); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return nil, err
	}
	goflags, err := output(ctx, "go", "run", "-buildvcs=false", "./cmd/mkos", "-goflags")
	if err != nil {
		return nil, err
	}
	list, err := output(ctx, "go", "list", "./...")
	if err != nil {
		return nil, err
	}
	packages := slices.DeleteFunc(strings.Fields(list), func(p string) bool { return strings.HasSuffix(p, "/e2e") })
	return &suite{
		full: os.Getenv("E2E_FULL") == "1",
		// Two that share two emulated processors reach the system's own limits.
		// They have up to 3 GB of memory each.
		machines: min(4, max(1, runtime.NumCPU()/2)),
		packages: packages, logs: logs,
		env:     append(os.Environ(), "E2E=required", "BULKHEAD_TEST=required"),
		compile: []string{"CGO_ENABLED=0", "GOFLAGS=" + strings.TrimSpace(goflags)},
	}, nil
}

func output(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", strings.Join(cmd.Args, " "), err)
	}
	return string(out), nil
}

// goTest is the command that tests packages; lint has vetted them.
func (s *suite) goTest(packages []string, args ...string) []string {
	return slices.Concat([]string{"go", "test", "-vet=off", "-count=1", "-v"}, args, packages)
}

// A result is what became of a stage.
type result struct {
	name string
	err  error
	took time.Duration
	log  []byte
}

// take runs stages, those of one round side by side.
func (s *suite) take(ctx context.Context, chosen []stage) []result {
	var results []result
	for len(chosen) > 0 {
		n := slices.IndexFunc(chosen, func(other stage) bool { return other.round != chosen[0].round })
		if n < 0 {
			n = len(chosen)
		}
		round := make([]result, n)
		var all sync.WaitGroup
		for i, stage := range chosen[:n] {
			failed := func(r result) bool { return r.name == stage.needs && r.err != nil }
			if slices.ContainsFunc(results, failed) {
				round[i] = result{name: stage.name, err: fmt.Errorf("stage %s failed", stage.needs)}
				continue
			}
			all.Go(func() { round[i] = s.runStage(ctx, stage, n > 1) })
		}
		all.Wait()
		results, chosen = append(results, round...), chosen[n:]
	}
	return results
}

// runStage runs a stage, prints what it says and a line with its seconds.
func (s *suite) runStage(ctx context.Context, stage stage, beside bool) result {
	r := result{name: stage.name}
	start := time.Now()
	fmt.Println("==", stage.name)
	var log bytes.Buffer
	screen := &lines{out: os.Stdout}
	if beside {
		screen.prefix = stage.name + " | "
	}
	for _, argv := range stage.commands(s) {
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		both := io.MultiWriter(&log, screen)
		cmd.Env, cmd.Stdout, cmd.Stderr = slices.Clone(s.env), both, both
		if stage.compiles {
			cmd.Env = append(cmd.Env, s.compile...)
		}
		if r.err = cmd.Run(); r.err != nil {
			break
		}
	}
	screen.flush()
	r.log, r.took = log.Bytes(), time.Since(start)
	verdict := "ok"
	if err := os.WriteFile(filepath.Join(s.logs, stage.name+".log"), r.log, 0o644); r.err == nil {
		r.err = err
	}
	if r.err != nil {
		verdict = fmt.Sprintf("FAILED (%v)", r.err)
	}
	fmt.Printf("== %s: %s in %.0f s\n", stage.name, verdict, r.took.Seconds())
	return r
}

// lines writes whole lines, each behind a prefix.
type lines struct {
	out    io.Writer
	prefix string
	rest   []byte
}

func (l *lines) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	end := bytes.LastIndexByte(l.rest, '\n') + 1
	for line := range bytes.Lines(l.rest[:end]) {
		if _, err := fmt.Fprintf(l.out, "%s%s", l.prefix, line); err != nil {
			return 0, err
		}
	}
	l.rest = append([]byte(nil), l.rest[end:]...)
	return len(p), nil
}

func (l *lines) flush() {
	if len(l.rest) > 0 {
		fmt.Fprintf(l.out, "%s%s\n", l.prefix, l.rest)
		l.rest = nil
	}
}

// verdict matches what go test -v says of a test: verdict, name, seconds.
var verdict = regexp.MustCompile(`(?m)^ *--- (PASS|FAIL|SKIP): (\S+) \(([\d.]+)s\)`)

// A tally counts tests.
type tally struct {
	passed, failed, skipped int
	skippedTests            []string
	// forRelease counts the tests that said that only a release has to pass
	// them. They are not among those skipped.
	forRelease int
}

// releaseOnly is in the line before the verdict of a test that says so (e2e's
// forRelease).
var releaseOnly = []byte(": for a release: ")

func count(results []result) tally {
	var t tally
	for _, r := range results {
		var before []byte
		for line := range bytes.Lines(r.log) {
			if m := verdict.FindSubmatch(line); m != nil {
				t.add(string(m[1]), string(m[2]), bytes.Contains(before, releaseOnly))
			}
			before = line
		}
	}
	return t
}

func (t *tally) add(verdict, name string, forRelease bool) {
	switch {
	case verdict == "PASS":
		t.passed++
	case verdict == "FAIL":
		t.failed++
	case forRelease:
		t.forRelease++
	default:
		t.skipped++
		t.skippedTests = append(t.skippedTests, name)
	}
}

// A test is a test with its seconds.
type test struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
}

// slowest returns the tests at the top level of some stages, the longest first.
func slowest(results []result) []test {
	var tests []test
	for _, r := range results {
		for _, m := range verdict.FindAllSubmatch(r.log, -1) {
			if bytes.HasPrefix(m[0], []byte(" ")) {
				continue
			}
			seconds, _ := strconv.ParseFloat(string(m[3]), 64)
			tests = append(tests, test{string(m[2]), seconds})
		}
	}
	slices.SortFunc(tests, func(a, b test) int { return int(100 * (b.Seconds - a.Seconds)) })
	return tests
}

// longest names the slowest tests.
func longest(results []result, n int) string {
	var words []string
	for _, t := range slowest(results) {
		if len(words) < n {
			words = append(words, fmt.Sprintf("%.0f s %s", t.Seconds, t.Name))
		}
	}
	return strings.Join(words, ", ")
}

// failures names what keeps a run from being green. A skipped test is one.
func failures(results []result, total tally) []string {
	var failed []string
	for _, r := range results {
		if r.err != nil {
			failed = append(failed, r.name)
		}
	}
	if total.skipped > 0 {
		failed = append(failed, "skipped tests")
	}
	return failed
}
