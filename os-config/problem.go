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

// warning marks the line of one.
const warning = ": warning: "

// Mistakes returns the lines, each made by String, that are no warnings.
func Mistakes(list string) []string {
	lines := strings.Split(list, "\n")
	return slices.DeleteFunc(lines, func(line string) bool { return line == "" || strings.Contains(line, warning) })
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
	if p.Severity == Warning {
		b.WriteString(warning)
	} else {
		b.WriteString(": ")
	}
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.Text)
	return b.String()
}

// Error is String, for a problem that a function returns as its error.
func (p Problem) Error() string { return p.String() }

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
func AnyError(problems []Problem) bool {
	return slices.ContainsFunc(problems, func(p Problem) bool { return p.Severity == Error })
}
