package iso

import (
	"bytes"
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/iso/debian"
)

// TestProgramLinks: each program in cmd/ros's table has its link in the ros
// layer, at the path that the rest of the OS uses.
func TestProgramLinks(t *testing.T) {
	layers, err := images.LoadLayers()
	if err != nil {
		t.Fatal(err)
	}
	f, err := parser.ParseFile(token.NewFileSet(), "../cmd/ros/main.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || spec.Names[0].Name != "programs" {
			return true
		}
		for _, e := range spec.Values[0].(*ast.CompositeLit).Elts {
			name, err := strconv.Unquote(e.(*ast.KeyValueExpr).Key.(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			found++
			path := "/usr/lib/bulkhead/" + name
			if got := layers["ros"].Links[path]; name != "ros" && got != "../../bin/ros" {
				t.Errorf("images/ros/layer.yml: %s links to %q; want ../../bin/ros", path, got)
			}
		}
		return false
	})
	if found == 0 {
		t.Error("cmd/ros/main.go has no table programs")
	}
}

func TestSubtract(t *testing.T) {
	base := []debian.Package{{Name: "libc6", Version: "1"}, {Name: "bash", Version: "1"}}
	got, err := subtract("x", []debian.Package{{Name: "libc6", Version: "1"}, {Name: "curl", Version: "8"}}, base)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]debian.Package{{Name: "curl", Version: "8"}}, got); diff != "" {
		t.Error(diff)
	}
	if _, err := subtract("x", []debian.Package{{Name: "libc6", Version: "2"}}, base); err == nil {
		t.Error("two versions of libc6 are no error")
	}
}

func TestRunReportsSteps(t *testing.T) {
	var out bytes.Buffer
	boom := errors.New("boom")
	var ran []string
	mark := func(name string, err error) step {
		return step{name, func(context.Context) error { ran = append(ran, name); return err }}
	}
	err := run(t.Context(), []step{mark("one", nil), mark("two", boom), mark("three", nil)}, newProgress(&out))
	if !errors.Is(err, boom) || !strings.HasPrefix(err.Error(), "two: ") {
		t.Errorf("run = %v; want boom in step two", err)
	}
	if diff := cmp.Diff([]string{"one", "two"}, ran); diff != "" {
		t.Error(diff)
	}
	if got := out.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "[ 2/3] two") || !strings.Contains(got, "FAILED") {
		t.Errorf("progress:\n%s", got)
	}
}

func TestDiffering(t *testing.T) {
	got := differing([]byte("aa  x.iso\nbb  vmlinuz\n"), []byte("ac  x.iso\nbb  vmlinuz\n"))
	if diff := cmp.Diff([]string{"x.iso"}, got); diff != "" {
		t.Error(diff)
	}
}
