package milestone

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the table of docs/boot.md")

const (
	root = "../../"
	page = root + "docs/boot.md"
	head = "| Milestone | Reached when | Set by | Used by |\n|---|---|---|---|\n"
)

func TestMilestone(t *testing.T) {
	m := Milestone(filepath.Join(t.TempDir(), "m"))
	if m.Reached() {
		t.Error("reached before it is set")
	}
	for i, want := range []bool{true, false} {
		if first, err := m.Claim(); first != want || err != nil {
			t.Errorf("claim %d: %t, %v; want %t", i, first, err, want)
		}
	}
	if err := m.Set("22"); err != nil || !m.Reached() || m.Check(t.Context()) != nil {
		t.Errorf("after Set, which says %v: reached %t", err, m.Reached())
	}
	if text, err := os.ReadFile(string(m)); string(text) != "22" || err != nil {
		t.Errorf("text %q, %v", text, err)
	}
	for range 2 {
		if err := m.Clear(); err != nil || m.Reached() {
			t.Errorf("after Clear, which says %v: reached %t", err, m.Reached())
		}
	}
	if _, err := Milestone("/nowhere/m").Claim(); err == nil {
		t.Error("claimed in a directory that is missing")
	}
}

// TestPage holds the table of docs/boot.md against Table.
func TestPage(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := bytes.Cut(text, []byte(head))
	if !ok {
		t.Fatalf("%s has no table %q", page, head)
	}
	_, after, _ := bytes.Cut(rest, []byte("\n\n"))
	var rows strings.Builder
	for _, r := range Table() {
		fmt.Fprintf(&rows, "| `%s` | %s | %s | %s |\n", string(r.Milestone), r.Means, folders(r.SetBy), folders(r.Users))
	}
	want := string(before) + head + rows.String() + "\n" + string(after)
	if *update {
		err = os.WriteFile(page, []byte(want), 0o644)
	} else if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Errorf("%s: run go test ./internal/milestone -update (-Table +page):\n%s", page, diff)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func folders(list []string) string {
	if len(list) == 0 {
		return "itself"
	}
	return "`" + strings.Join(list, "` `") + "`"
}

// uses are the folders that set a milestone, and those that do something else
// with it.
type uses struct{ set, other map[string]bool }

// TestTable holds Table against the code: Go programs by their selectors, and
// what is below images by the file's path. What a declaration names in x-ready,
// the orchestrator waits for.
func TestTable(t *testing.T) {
	names := constants(t)
	if len(names) != len(Table()) {
		t.Fatalf("%d constants and %d rows", len(names), len(Table()))
	}
	got := make(map[string]uses)
	for _, name := range names {
		got[name] = uses{map[string]bool{}, map[string]bool{}}
	}
	for _, tree := range []string{"cmd", "images", "init", "sysdocker", "userdocker"} {
		err := filepath.WalkDir(root+tree, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.HasSuffix(path, "_test.go") {
				return err
			}
			folder, _ := filepath.Rel(root, filepath.Dir(path))
			if strings.HasSuffix(path, ".go") {
				return usesOf(path, folder, got)
			}
			text, err := os.ReadFile(path)
			if parts := strings.Split(folder, "/"); len(parts) > 2 {
				folder = parts[0] + "/" + parts[1] // what a service ships is below its folder
			}
			if d.Name() == "service.yml" {
				folder = orchestrator
			}
			for i, r := range Table() {
				if bytes.Contains(text, []byte(">"+string(r.Milestone)+"\n")) {
					got[names[i]].set[folder] = true
				} else if bytes.Contains(text, []byte(string(r.Milestone)+"\n")) {
					got[names[i]].other[folder] = true
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for i, r := range Table() {
		u := got[names[i]]
		// A program that clears what it sets does not wait for it.
		users := slices.DeleteFunc(sorted(u.other), func(f string) bool { return u.set[f] && !slices.Contains(r.Users, f) })
		if diff := cmp.Diff(r.SetBy, sorted(u.set)); diff != "" {
			t.Errorf("%s, set by (-Table +code):\n%s", names[i], diff)
		}
		if diff := cmp.Diff(r.Users, users); diff != "" {
			t.Errorf("%s, used by (-Table +code):\n%s", names[i], diff)
		}
	}
}

// constants returns the names that Table has, in its order.
func constants(t *testing.T) (names []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "all.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if row, ok := n.(*ast.CompositeLit); ok && row.Type == nil {
			names = append(names, row.Elts[0].(*ast.Ident).Name)
		}
		return true
	})
	return names
}

// usesOf adds what a Go file does with milestones. Renaming one to another sets
// the second.
func usesOf(path, folder string, into map[string]uses) error {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		return err
	}
	sets := make(map[ast.Node]bool)
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if f, ok := n.Fun.(*ast.SelectorExpr); ok {
				switch f.Sel.Name {
				case "Set", "Claim":
					sets[f.X] = true
				case "Rename":
					sets[argument(n.Args[1])] = true
				}
			}
			if f, ok := n.Fun.(*ast.Ident); ok && f.Name == "request" {
				sets[n.Args[1]] = true
			}
		case *ast.CompositeLit: // of a file to write, or of a place to be told
			if name, ok := n.Type.(*ast.Ident); ok && name.Name == "systemFile" {
				sets[argument(n.Elts[0])] = true
			}
		case *ast.KeyValueExpr:
			sets[n.Value] = true
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && x.Name == "milestone" {
				if u, ok := into[n.Sel.Name]; ok {
					if sets[n] {
						u.set[folder] = true
					} else {
						u.other[folder] = true
					}
				}
			}
		}
		return true
	})
	return nil
}

// argument is the operand of a conversion.
func argument(e ast.Expr) ast.Expr {
	if call, ok := e.(*ast.CallExpr); ok && len(call.Args) == 1 {
		return call.Args[0]
	}
	return e
}

func sorted(set map[string]bool) []string {
	var list []string
	for f := range set {
		list = append(list, f)
	}
	slices.Sort(list)
	return list
}
