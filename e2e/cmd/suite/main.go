// Command suite builds the system and proves it, stage by stage; scripts/test is
// its front door and installs what the stages need.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"
)

const usage = `Usage: ./scripts/test [STAGE...]

Builds the system and proves it. Without arguments it takes all stages:

%s
E2E_FULL=1 also runs what a release has to pass: hours instead of minutes.
Logs are in dist/test; docs/testing.md tells more.

Examples:
  ./scripts/test
  ./scripts/test lint unit
  ./scripts/test --figures           # write what the last run took into docs/testing.md
  E2E_FULL=1 ./scripts/test vm
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := run(ctx, os.Args[1:])
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		fmt.Fprintf(os.Stderr, "test: %v; --help lists the stages\n", err)
		os.Exit(2)
	default:
		fmt.Println("==", err)
		os.Exit(1)
	}
}

// errUsage means that the command line is wrong.
var errUsage = errors.New("wrong usage")

func run(ctx context.Context, args []string) error {
	start := time.Now()
	f := flag.NewFlagSet("test", flag.ContinueOnError)
	f.Usage = func() { fmt.Fprintf(os.Stderr, usage, describe(stages)) }
	document := f.Bool("figures", false, "")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *document {
		return documentFigures()
	}
	chosen, err := choose(stages, f.Args())
	if err != nil {
		return err
	}
	s, err := newSuite(ctx)
	if err != nil {
		return err
	}
	results := s.take(ctx, chosen)
	total := count(results)
	if slow := longest(results, 8); slow != "" {
		fmt.Println("== the longest:", slow)
	}
	for _, test := range total.skippedTests {
		fmt.Println("== skipped:", test)
	}
	if total.forRelease > 0 {
		fmt.Printf("== for a release only: %d tests more (E2E_FULL=1)\n", total.forRelease)
	}
	// A line by itself, in the form that build services look for.
	fmt.Printf("tests: %d passed, %d failed, %d skipped\n", total.passed, total.failed, total.skipped)
	if err := saveFigures(results, time.Since(start)); err != nil {
		return err
	}
	if failed := failures(results, total); failed != nil {
		return fmt.Errorf("FAILED: %s; logs in %s", strings.Join(failed, ", "), logDir)
	}
	fmt.Printf("== all green in %.0f s\n", time.Since(start).Seconds())
	return nil
}
