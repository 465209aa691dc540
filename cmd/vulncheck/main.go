// Command vulncheck judges what govulncheck found in this source tree: it
// reads its JSON from standard input and fails for each vulnerability that
// scripts/vulncheck.reasons does not accept, with a reason, by its number.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

func main() {
	reasonsFile := flag.String("reasons", "scripts/vulncheck.reasons", "file of accepted vulnerabilities")
	flag.Parse()
	if err := run(os.Stdin, os.Stdout, *reasonsFile); err != nil {
		fmt.Fprintln(os.Stderr, "vulncheck:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer, reasonsFile string) error {
	f, err := os.Open(reasonsFile)
	if err != nil {
		return err
	}
	defer f.Close()
	reasons, err := readReasons(f)
	if err != nil {
		return fmt.Errorf("%s: %w", reasonsFile, err)
	}
	rep, err := read(in)
	if err != nil {
		return err
	}
	return rep.judge(out, reasons)
}

// readReasons reads lines "GO-2026-1234 reason". Comments begin with #.
func readReasons(r io.Reader) (map[string]string, error) {
	reasons := make(map[string]string)
	in := bufio.NewScanner(r)
	for n := 1; in.Scan(); n++ {
		line := strings.TrimSpace(in.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		id, reason, _ := strings.Cut(line, " ")
		if reason = strings.TrimSpace(reason); !strings.HasPrefix(id, "GO-") || reason == "" {
			return nil, fmt.Errorf("line %d: expected GO-YEAR-NUMBER and a reason", n)
		}
		if reasons[id] != "" {
			return nil, fmt.Errorf("line %d: %s has a reason already", n, id)
		}
		reasons[id] = reason
	}
	return reasons, in.Err()
}

// A message is one value of govulncheck's stream
// (https://pkg.go.dev/golang.org/x/vuln/internal/govulncheck).
type message struct {
	Config *struct {
		DB           string `json:"db"`
		LastModified string `json:"db_last_modified"`
		ScanLevel    string `json:"scan_level"`
	} `json:"config"`
	OSV *struct {
		ID      string `json:"id"`
		Summary string `json:"summary"`
	} `json:"osv"`
	Finding *struct {
		OSV          string  `json:"osv"`
		FixedVersion string  `json:"fixed_version"`
		Trace        []frame `json:"trace"` // the vulnerable symbol first
	} `json:"finding"`
}

type frame struct{ Module, Version, Package, Function string }

// A report is what govulncheck says, as far as it decides.
type report struct {
	source  string            // which database, of which day, and how deeply it looked
	summary map[string]string // by number
	found   map[string]string // number → where, of those that are reached
	unused  map[string]bool   // those in a module of which nothing vulnerable is reached
}

// errNoDatabase means that the stream ended before any answer.
var errNoDatabase = errors.New("govulncheck said nothing: see its message")

func read(in io.Reader) (report, error) {
	rep := report{summary: make(map[string]string), found: make(map[string]string), unused: make(map[string]bool)}
	for dec := json.NewDecoder(in); ; {
		var m message
		err := dec.Decode(&m)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return rep, fmt.Errorf("govulncheck's answer: %w", err)
		}
		switch {
		case m.Config != nil:
			rep.source = fmt.Sprintf("%s of %s, %s level", m.Config.DB, m.Config.LastModified, m.Config.ScanLevel)
		case m.OSV != nil:
			rep.summary[m.OSV.ID] = m.OSV.Summary
		case m.Finding != nil && len(m.Finding.Trace) > 0:
			rep.add(m.Finding.OSV, m.Finding.Trace, m.Finding.FixedVersion)
		}
	}
	if rep.source == "" {
		return rep, errNoDatabase
	}
	for id := range rep.found {
		delete(rep.unused, id)
	}
	return rep, nil
}

// add notes a finding. One that names no package is of a module that is merely
// required.
func (rep *report) add(id string, trace []frame, fixed string) {
	at := trace[0]
	if at.Package == "" {
		rep.unused[id] = true
		return
	}
	where := at.Package
	if at.Function != "" {
		where += "." + at.Function
	}
	if user := trace[len(trace)-1]; len(trace) > 1 {
		where += ", reached from " + user.Package
	}
	fix := "no version has a fix"
	if fixed != "" {
		fix = "fixed in " + fixed
	}
	rep.found[id] = fmt.Sprintf("%s@%s: %s; %s", at.Module, at.Version, where, fix)
}

// judge prints the report. The error names what nobody has accepted, and
// reasons that have had their day.
func (rep report) judge(out io.Writer, reasons map[string]string) error {
	fmt.Fprintf(out, "vulncheck: %s: %d reached, %d in modules of which nothing vulnerable is used\n",
		rep.source, len(rep.found), len(rep.unused))
	var open, stale []string
	for _, id := range slices.Sorted(maps.Keys(rep.found)) {
		fmt.Fprintf(out, "%s %s\n  %s\n", id, rep.summary[id], rep.found[id])
		if reasons[id] == "" {
			open = append(open, id)
			continue
		}
		fmt.Fprintf(out, "  accepted: %s\n", reasons[id])
	}
	for _, id := range slices.Sorted(maps.Keys(reasons)) {
		if rep.found[id] == "" {
			stale = append(stale, id)
		}
	}
	var errs []error
	if len(open) > 0 {
		errs = append(errs, fmt.Errorf("update, or write a line with the reason: %s", strings.Join(open, ", ")))
	}
	if len(stale) > 0 {
		errs = append(errs, fmt.Errorf("not found any more, delete the line: %s", strings.Join(stale, ", ")))
	}
	return errors.Join(errs...)
}
