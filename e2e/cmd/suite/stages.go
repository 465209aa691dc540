package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A stage is one part of the proof.
type stage struct {
	name, proves string
	// round orders stages; those of one round run side by side.
	round int
	// compiles asks for the engine's flags, so that each of its two thousand
	// packages is compiled once, for the engine and for all tests.
	compiles bool
	// needs names a stage without which this one makes no sense.
	needs string
	// commands are run one after the other.
	commands func(*suite) [][]string
}

// stages are all stages; scripts/test takes them in the order of their rounds.
var stages = []stage{
	{name: "build", proves: "./build.sh makes what the later stages test", round: 1, commands: func(s *suite) [][]string {
		// The image of a release takes minutes more to compress, and its
		// machines a quarter more to boot.
		if s.full {
			return [][]string{{"./build.sh"}, {"./build.sh", "-console"}, {"./build.sh", "-services"}}
		}
		return [][]string{{"./build.sh", "-fast", "-archives=false"}}
	}},
	{name: "lint", compiles: true, proves: "habits that a machine can check", round: 2, commands: func(*suite) [][]string {
		return [][]string{{"./scripts/lint"}}
	}},
	{name: "vulncheck", compiles: true, proves: "no known vulnerability without a reason", round: 2, commands: func(*suite) [][]string {
		return [][]string{{"./scripts/vulncheck"}}
	}},
	{name: "fresh", proves: "./scripts/run, on a machine that has nothing", round: 2, needs: "build", commands: func(s *suite) [][]string {
		releases := []string{"trixie"}
		if s.full {
			releases = append(releases, "bookworm", "noble", "jammy")
		}
		var all [][]string
		for _, release := range releases {
			all = append(all, []string{"go", "run", "-buildvcs=false", "./e2e/cmd/fresh", release})
		}
		return all
	}},
	{name: "unit", compiles: true, proves: "each package by itself", round: 3, commands: func(s *suite) [][]string {
		return [][]string{s.goTest(s.packages, "-skip", "^TestIntegration")}
	}},
	{name: "race", proves: "packages in which goroutines meet, under the race detector", round: 3, commands: func(*suite) [][]string {
		return [][]string{{"./scripts/race", "-count=1", "-v"}}
	}},
	{name: "integration", compiles: true, proves: "packages against a real daemon, loop devices and namespaces of this machine", round: 4, commands: func(s *suite) [][]string {
		return [][]string{s.goTest(s.packages, "-p", "1", "-timeout", "10m", "-run", "^TestIntegration")}
	}},
	{name: "vm", proves: "the system, booted in virtual machines and seen from outside", round: 5, compiles: true, needs: "build", commands: func(s *suite) [][]string {
		args := []string{"-timeout", "75m", "-parallel", fmt.Sprint(s.machines), "-artifacts", "-outputdir", s.logs}
		if !s.full {
			args = append(args, "-short")
		}
		return [][]string{s.goTest([]string{"./e2e"}, args...)}
	}},
}

// describe lists stages for people.
func describe(stages []stage) string {
	var b strings.Builder
	for _, s := range stages {
		fmt.Fprintf(&b, "  %-12s %s\n", s.name, s.proves)
	}
	return b.String()
}

// choose returns the stages with these names, or all, by round.
func choose(stages []stage, names []string) ([]stage, error) {
	chosen := slices.Clone(stages)
	if len(names) > 0 {
		for _, name := range names {
			if !slices.ContainsFunc(stages, func(s stage) bool { return s.name == name }) {
				return nil, fmt.Errorf("no stage %q: %w", name, errUsage)
			}
		}
		chosen = slices.DeleteFunc(chosen, func(s stage) bool { return !slices.Contains(names, s.name) })
	}
	slices.SortStableFunc(chosen, func(a, b stage) int { return cmp.Compare(a.round, b.round) })
	return chosen, nil
}
