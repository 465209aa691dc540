package osconfig

import (
	"fmt"
	"slices"
	"strings"
)

// A Severity says how bad a Problem is.
type Severity int

const (
	// Error: what was asked for does not happen.
	Error Severity = iota
	// Warning: a key is without effect, unneeded or goes by another name.
	Warning
)

// String returns "error" or "warning".
func (s Severity) String() string {
	if s == Warning {
		return "warning"
	}
	return "error"
}

// MarshalText is String, for JSON.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (s *Severity) UnmarshalText(text []byte) error {
	for _, known := range []Severity{Error, Warning} {
		if known.String() == string(text) {
			*s = known
			return nil
		}
	}
	return fmt.Errorf("%q: expected error or warning", text)
}

// A Problem is something wrong in a configuration. What an error concerns has
// no effect, the rest of the configuration has. The text holds no values that
// could be secret.
type Problem struct {
	Severity Severity `json:"severity"`
	// Source is a file's path, or what else the text came from.
	Source string `json:"source"`
	// Line and Column count from 1; zero where there is no such thing.
	Line   int `json:"line,omitempty"`
	Column int `json:"column,omitempty"`
	// Key is the dotted path of the key, with indices: "write_files[0].path".
	Key string `json:"key,omitempty"`
	// Text says what is wrong and what to do.
	Text string `json:"text"`
}

// String is one line: "file:line:column: key: text", with "warning: " before
// the key of a warning.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.Source)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
		if p.Column > 0 {
			fmt.Fprintf(&b, ":%d", p.Column)
		}
	}
	b.WriteString(": ")
	if p.Severity == Warning {
		b.WriteString("warning: ")
	}
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.Text)
	return b.String()
}

// Error is String, for a problem that a function returns as its error.
func (p Problem) Error() string { return p.String() }

// A LineError is what is wrong on one line of a text.
type LineError struct {
	Line int
	Err  error
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

func (e *LineError) Unwrap() error { return e.Err }

// ProblemsOf returns one problem for each error that err joins; none for nil.
func ProblemsOf(source string, err error) []Problem {
	switch e := err.(type) { //nolint:errorlint // the parts of a joined error, not what they wrap
	case nil:
		return nil
	case interface{ Unwrap() []error }:
		var problems []Problem
		for _, part := range e.Unwrap() {
			problems = append(problems, ProblemsOf(source, part)...)
		}
		return problems
	case *LineError:
		return []Problem{{Source: source, Line: e.Line, Text: e.Err.Error()}}
	}
	return []Problem{{Source: source, Text: err.Error()}}
}

// nearest returns the candidate that a mistyped word most likely means, or ""
// when none is near.
func nearest(word string, candidates []string) string {
	if len(word) > 64 {
		return ""
	}
	best, limit := "", max(1, len(word)/3)
	for _, c := range candidates {
		if d := distance(strings.ToLower(word), c); d <= limit {
			best, limit = c, d-1
		}
	}
	return best
}

// distance counts the insertions, deletions, replacements and swaps of
// neighbours that turn a into b (optimal string alignment).
func distance(a, b string) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

// AnyError reports whether one of the problems is more than a warning.
func AnyError(problems []Problem) bool { return slices.ContainsFunc(problems, isError) }

// Errors returns the problems that are more than warnings.
func Errors(problems []Problem) []Problem {
	return slices.DeleteFunc(slices.Clone(problems), func(p Problem) bool { return !isError(p) })
}

func isError(p Problem) bool { return p.Severity == Error }
