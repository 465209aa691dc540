package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// figures are what a run took.
type figures struct {
	Date       string  `json:"date"`
	Processors int     `json:"processors"`
	Seconds    float64 `json:"seconds"`
	Stages     []test  `json:"stages"`
	Tests      []test  `json:"tests"`
}

// figuresFile is where a run leaves its figures.
func figuresFile() string { return filepath.Join(logDir, "figures.json") }

func saveFigures(results []result, took time.Duration) error {
	f := figures{Date: time.Now().Format(time.DateOnly), Processors: runtime.NumCPU(), Seconds: took.Seconds(), Tests: slowest(results)}
	for _, r := range results {
		f.Stages = append(f.Stages, test{r.name, r.took.Seconds()})
	}
	raw, err := json.MarshalIndent(f, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(figuresFile(), raw, 0o644)
}

// Between these lines of the document the figures stand.
const (
	figuresDocument = "docs/testing.md"
	figuresBegin    = "<!-- written by ./scripts/test --figures -->\n"
	figuresEnd      = "<!-- end of figures -->\n"
)

// documentFigures writes the figures of the last run into the document.
func documentFigures() error {
	raw, err := os.ReadFile(figuresFile())
	if err != nil {
		return fmt.Errorf("figures of the last run: %w; run ./scripts/test first", err)
	}
	var f figures
	if err := json.Unmarshal(raw, &f); err != nil {
		return fmt.Errorf("%s: %w", figuresFile(), err)
	}
	document, err := os.ReadFile(figuresDocument)
	if err != nil {
		return err
	}
	changed, err := between(string(document), f.markdown())
	if err != nil {
		return fmt.Errorf("%s: %w", figuresDocument, err)
	}
	return os.WriteFile(figuresDocument, []byte(changed), 0o644)
}

// between replaces what stands between the two lines.
func between(document, text string) (string, error) {
	before, rest, ok := strings.Cut(document, figuresBegin)
	_, after, okToo := strings.Cut(rest, figuresEnd)
	if !ok || !okToo {
		return "", errors.New("the lines around the figures are missing")
	}
	return before + figuresBegin + text + figuresEnd + after, nil
}

// markdown is the figures as a document has them.
func (f figures) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %d processors, %.0f s in all:\n\n| Stage | Seconds |\n|---|---|\n", f.Date, f.Processors, f.Seconds)
	for _, s := range f.Stages {
		fmt.Fprintf(&b, "| `%s` | %.0f |\n", s.Name, s.Seconds)
	}
	fmt.Fprint(&b, "\nThe longest tests: ")
	for i, t := range f.Tests[:min(12, len(f.Tests))] {
		if i > 0 {
			fmt.Fprint(&b, ", ")
		}
		fmt.Fprintf(&b, "`%s` %.0f s", t.Name, t.Seconds)
	}
	fmt.Fprint(&b, ".\n")
	return b.String()
}
