package habits

import (
	"go/scanner"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const glossary = "docs/glossary.md"

// readWords reads from the glossary which words to avoid.
func readWords(t *testing.T) *regexp.Regexp {
	t.Helper()
	text, err := os.ReadFile("../../" + glossary)
	if err != nil {
		t.Fatal(err)
	}
	_, list, ok := strings.Cut(string(text), "\n| Avoid | Write |\n|---|---|\n")
	if !ok {
		t.Fatalf("%s has no table of words to avoid", glossary)
	}
	rows, _, _ := strings.Cut(list, "\n\n")
	var words []string
	for row := range strings.Lines(rows) {
		for word := range strings.SplitSeq(strings.Split(row, "|")[1], ",") {
			words = append(words, strings.ReplaceAll(regexp.QuoteMeta(strings.TrimSpace(word)), " ", `\s+(?://\s*|#\s*)?`))
		}
	}
	if len(words) < 10 {
		t.Fatalf("%s: %d words", glossary, len(words))
	}
	return regexp.MustCompile(`(?i)\b(` + strings.Join(words, "|") + `)\b`)
}

// prose returns what of a file people read, with everything else blanked: of Go
// code the comments and texts.
func prose(name string, text []byte) []byte {
	if filepath.Ext(name) != ".go" {
		return text
	}
	out := make([]byte, len(text))
	for i, b := range text {
		out[i] = ' '
		if b == '\n' {
			out[i] = b
		}
	}
	var s scanner.Scanner
	file := token.NewFileSet().AddFile(name, -1, len(text))
	s.Init(file, text, nil, scanner.ScanComments)
	for {
		pos, tok, lit := s.Scan()
		if tok == token.EOF {
			return out
		}
		if tok == token.COMMENT || tok == token.STRING {
			copy(out[file.Offset(pos):], lit)
		}
	}
}

func TestWords(t *testing.T) {
	avoid := readWords(t)
	cmd := exec.CommandContext(t.Context(), "git", "-C", "../..", "ls-files", "-z")
	list, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v", cmd, err)
	}
	files := 0
	for name := range strings.SplitSeq(strings.TrimRight(string(list), "\x00"), "\x00") {
		if strings.Contains(name, "/testdata/") || strings.HasPrefix(name, "internal/habits/") || name == glossary ||
			strings.HasSuffix(name, "_test.go") || strings.HasSuffix(name, ".sum") {
			continue
		}
		text, err := os.ReadFile("../../" + name)
		if err != nil {
			t.Fatal(err)
		}
		files++
		text = prose(name, text)
		for _, at := range avoid.FindAllIndex(text, -1) {
			t.Errorf("%s:%d: %q: see %s for what to write", name, 1+strings.Count(string(text[:at[0]]), "\n"), text[at[0]:at[1]], glossary)
		}
	}
	if files < 400 {
		t.Errorf("only %d files looked at", files)
	}
}

func TestProse(t *testing.T) {
	const code = "package a\n\n// É made anew.\nvar anew = \"anew\" + `x`\n"
	got := string(prose("a.go", []byte(code)))
	if len(got) != len(code) || strings.Count(got, "anew") != 2 || strings.Contains(got, "var") {
		t.Errorf("prose = %q; want the comment and the text only", got)
	}
}
