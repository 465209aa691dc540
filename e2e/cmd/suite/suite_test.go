package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func names(stages []stage) (names []string) {
	for _, s := range stages {
		names = append(names, s.name)
	}
	return names
}

func TestChoose(t *testing.T) {
	table := []stage{{name: "vm", round: 3}, {name: "build", round: 1}, {name: "lint", round: 2}}
	tests := []struct {
		name string
		args []string
		want []string
		err  error
	}{
		{"all, by round", nil, []string{"build", "lint", "vm"}, nil},
		{"some, by round", []string{"vm", "lint"}, []string{"lint", "vm"}, nil},
		{"unknown", []string{"lint", "bogus"}, nil, errUsage},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := choose(table, tt.args)
			if !errors.Is(err, tt.err) {
				t.Errorf("error = %v; want %v", err, tt.err)
			}
			if diff := cmp.Diff(tt.want, names(got)); diff != "" {
				t.Errorf("stages differ (-want +got):\n%s", diff)
			}
		})
	}
}

// A stage that fails keeps those that need it from running, and no others.
func TestTake(t *testing.T) {
	run := func(line string) func(*suite) [][]string {
		return func(*suite) [][]string { return [][]string{{"sh", "-c", line}, {"echo", "done"}} }
	}
	s := &suite{logs: t.TempDir(), env: []string{"PATH=/usr/bin:/bin"}, compile: []string{"FLAGS=x"}}
	results := s.take(context.Background(), []stage{
		{name: "build", round: 1, commands: run("echo half; exit 3")},
		{name: "lint", round: 2, compiles: true, commands: run("echo $FLAGS")},
		{name: "unit", round: 2, commands: run("echo none$FLAGS")},
		{name: "vm", round: 3, needs: "build", commands: run("echo never")},
	})
	got := make(map[string]string)
	for _, r := range results {
		got[r.name] = strings.ReplaceAll(string(r.log), "\n", " ")
		if r.err != nil {
			got[r.name] += "failed"
		}
	}
	want := map[string]string{"build": "half failed", "lint": "x done ", "unit": "none done ", "vm": "failed"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("results differ (-want +got):\n%s", diff)
	}
}

func TestCount(t *testing.T) {
	results := []result{{name: "unit", took: time.Second, log: []byte(`=== RUN   TestA
    --- PASS: TestA/one (0.50s)
    --- SKIP: TestA/two (0.00s)
--- PASS: TestA (0.75s)
--- FAIL: TestB (2.00s)
=== RUN   TestC
    c_test.go:3: for a release: it boots a machine twice
--- SKIP: TestC (0.00s)
`)}}
	total := count(results)
	if total.passed != 2 || total.failed != 1 || total.skipped != 1 || total.forRelease != 1 {
		t.Errorf("tally = %+v; want 2 passed, 1 failed, 1 skipped, 1 for a release", total)
	}
	if got, want := longest(results, 8), "2 s TestB, 1 s TestA, 0 s TestC"; got != want {
		t.Errorf("longest = %q; want %q", got, want)
	}
	if diff := cmp.Diff([]string{"skipped tests"}, failures(results, total)); diff != "" {
		t.Errorf("failures differ (-want +got):\n%s", diff)
	}
}

func TestLines(t *testing.T) {
	var out bytes.Buffer
	l := &lines{out: &out, prefix: "unit | "}
	for _, part := range []string{"a\nb", "c\n", "d"} {
		if _, err := l.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	l.flush()
	if diff := cmp.Diff("unit | a\nunit | bc\nunit | d\n", out.String()); diff != "" {
		t.Errorf("output differs (-want +got):\n%s", diff)
	}
}

func TestFigures(t *testing.T) {
	f := figures{Date: "2026-11-30", Processors: 2, Seconds: 12, Stages: []test{{"unit", 10}}, Tests: []test{{"TestA", 3}}}
	got, err := between("before\n"+figuresBegin+"old\n"+figuresEnd+"after\n", f.markdown())
	want := "before\n" + figuresBegin + "2026-11-30, 2 processors, 12 s in all:\n\n| Stage | Seconds |\n|---|---|\n| `unit` | 10 |\n" +
		"\nThe longest tests: `TestA` 3 s.\n" + figuresEnd + "after\n"
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("document differs (-want +got):\n%s", diff)
	}
	if _, err := between("nothing here\n", ""); err == nil {
		t.Error("no error about a document without the lines")
	}
}
