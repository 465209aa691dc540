package osconfig

import (
	"bytes"
	"errors"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// badCharacter finds the first byte that no YAML can have, which yaml.v3 tells
// without a position. UTF-16, which begins with a byte order mark, may.
func badCharacter(text []byte) (line, column int, found bool) {
	if bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")) {
		return 0, 0, false
	}
	line, column = 1, 1
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		switch {
		case r == utf8.RuneError && size == 1, r < ' ' && r != '\t' && r != '\n' && r != '\r', r == 0x7f:
			return line, column, true
		case r == '\n':
			line, column = line+1, 0
		}
		column++
		text = text[size:]
	}
	return 0, 0, false
}

// secondDocument returns the line of the "---" behind which another document
// begins, or 0. Only the first document of a text counts.
func secondDocument(text []byte) int {
	n, content := 0, false
	for line := range bytes.Lines(text) {
		n++
		switch trimmed := bytes.TrimSpace(line); {
		case bytes.HasPrefix(line, []byte("---")) && (len(trimmed) == 3 || line[3] == ' '):
			if content {
				return n
			}
			content = len(trimmed) > 3
		case len(trimmed) > 0 && trimmed[0] != '#' && trimmed[0] != '%':
			content = true
		}
	}
	return 0
}

// SyntaxError says on which line of a text an error of yaml.v3 is.
func SyntaxError(text []byte, err error) error {
	line, _, why := syntaxError(text, err)
	return &LineError{line, errors.New("invalid YAML: " + why)}
}

// syntaxError finds the position in an error of yaml.v3, which has no type and
// tells no column, and leaves out what it may quote of the text.
func syntaxError(text []byte, err error) (line, column int, why string) {
	why = strings.TrimPrefix(err.Error(), "yaml: ")
	line = 1 // which yaml.v3 does not tell
	if name, found := strings.CutPrefix(why, "unknown anchor '"); found {
		name = "*" + strings.TrimSuffix(name, "' referenced")
		before, _, _ := bytes.Cut(text, []byte(name))
		line += bytes.Count(before, []byte("\n"))
		column = utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
		return line, column, "a value that begins with * refers to an anchor (&) that is not there; does it lack quotes?"
	}
	if rest, found := strings.CutPrefix(why, "line "); found {
		if digits, text, found := strings.Cut(rest, ": "); found {
			if n, err := strconv.Atoi(digits); err == nil {
				line, why = n, text
				if strings.HasPrefix(why, "did not find expected") {
					line++ // its parser counts from 0, other than its scanner
				}
			}
		}
	}
	if began := line; strings.HasPrefix(why, "did not find expected") {
		// It tells where the mapping or list begins in which the mistake is.
		if line = max(line, lineOf(text, err)); line != began {
			why += ", in what begins on line " + strconv.Itoa(began)
		}
	}
	return line, columnOf(text, line, err), why
}

// lineOf finds the line of a syntax error, as columnOf does its column.
func lineOf(text []byte, err error) int {
	ends := []int{0}
	for n, c := range text {
		if c == '\n' {
			ends = append(ends, n+1)
		}
	}
	ends = append(ends, len(text))
	return sort.Search(len(ends)-1, func(n int) bool { return sameError(text[:ends[n]], err) })
}

// sameError reports whether a text has the same error.
func sameError(text []byte, err error) bool {
	var doc yaml.Node
	e := yaml.Unmarshal(text, &doc)
	return e != nil && e.Error() == err.Error()
}

// maxColumn is the longest line in which a column is looked for, in bytes.
const maxColumn = 1000

// columnOf finds the column of a syntax error: the parser reads from left to
// right, so the error appears with the character that causes it and stays.
func columnOf(text []byte, line int, err error) int {
	start := 0
	for range line - 1 {
		n := bytes.IndexByte(text[start:], '\n')
		if n < 0 {
			return 0
		}
		start += n + 1
	}
	length := bytes.IndexByte(text[start:], '\n')
	if length < 0 {
		length = len(text) - start
	}
	if length > maxColumn {
		return 0
	}
	n := sort.Search(length, func(n int) bool { return sameError(text[:start+n+1], err) })
	if n == length {
		return 0
	}
	return utf8.RuneCount(text[start:start+n]) + 1
}
