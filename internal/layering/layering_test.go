package layering

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/bulkhead-os/bulkhead/"

// A row is one line of the table.
type row struct {
	layer    string
	packages []string // patterns, relative to the module
	layers   string   // "0", "0–2": whose packages it may import
	itself   bool
	modules  []string // patterns of other packages, ours and others'
	any      bool
}

var (
	quoted   = regexp.MustCompile("`([^`]+)`")
	layersRE = regexp.MustCompile(`layers? (\d)(?:–(\d))?`)
)

// readTable reads the table of a Markdown file whose header starts with Layer.
func readTable(t *testing.T, path string) []row {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var rows []row
	in := bufio.NewScanner(bytes.NewReader(text))
	inTable := false
	for in.Scan() {
		cells := strings.Split(in.Text(), "|")
		if len(cells) != 5 {
			inTable = false
			continue
		}
		switch first := strings.TrimSpace(cells[1]); {
		case first == "Layer":
			inTable = true
		case !inTable || strings.HasPrefix(first, "---"):
		default:
			rows = append(rows, row{
				layer: first, packages: words(cells[2]), modules: words(cells[3]),
				itself: strings.Contains(cells[3], "itself"),
				any:    strings.Contains(cells[3], "any module"),
				layers: layersRE.FindString(cells[3]),
			})
		}
	}
	return rows
}

func words(cell string) []string {
	var list []string
	for _, m := range quoted.FindAllStringSubmatch(cell, -1) {
		list = append(list, m[1])
	}
	return list
}

// covers reports whether one of the patterns is pkg or, with /..., above it.
func covers(patterns []string, pkg string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		if dir, ok := strings.CutSuffix(p, "/..."); ok {
			return pkg == dir || strings.HasPrefix(pkg, dir+"/")
		}
		return pkg == p
	})
}

// allows reports whether a package of row r may import path.
func (r row) allows(rows []row, path string) bool {
	own, ours := strings.CutPrefix(path, module)
	switch {
	case !ours && !strings.Contains(strings.Split(path, "/")[0], "."): // standard library
		return true
	case !ours:
		return r.any || slices.ContainsFunc(r.modules, func(m string) bool {
			return path == m || strings.HasPrefix(path, m+"/")
		})
	case r.itself && covers(r.packages, own), covers(r.modules, own):
		return true
	}
	m := layersRE.FindStringSubmatch(r.layers)
	if m == nil {
		return false
	}
	from, to := m[1], m[1]
	if m[2] != "" {
		to = m[2]
	}
	return slices.ContainsFunc(rows, func(other row) bool {
		return len(other.layer) == 1 && from <= other.layer && other.layer <= to && covers(other.packages, own)
	})
}

// TestLayering holds every import against the table in docs/architecture.md.
func TestLayering(t *testing.T) {
	rows := readTable(t, "../../docs/architecture.md")
	if len(rows) == 0 {
		t.Fatal("no table in docs/architecture.md")
	}
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports,GoFiles", module+"...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v", cmd, err)
	}
	used := make(map[int]bool)
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var pkg struct {
			ImportPath       string
			Imports, GoFiles []string
		}
		if err := dec.Decode(&pkg); err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(pkg.ImportPath, module)
		i := slices.IndexFunc(rows, func(r row) bool { return covers(r.packages, name) })
		if i < 0 {
			if len(pkg.GoFiles) > 0 && name != "internal/layering" && name != "internal/habits" {
				t.Errorf("%s is in no row of docs/architecture.md: say there what it may import", name)
			}
			continue
		}
		used[i] = true
		for _, path := range pkg.Imports {
			if !rows[i].allows(rows, path) {
				t.Errorf("%s imports %s, which its row in docs/architecture.md (layer %s) does not allow", name, path, rows[i].layer)
			}
		}
	}
	for i, r := range rows {
		if !used[i] {
			t.Errorf("row of layer %s is for no package: %v", r.layer, r.packages)
		}
	}
}

func TestAllows(t *testing.T) {
	rows := []row{
		{layer: "0", packages: []string{"internal/a"}},
		{layer: "1", packages: []string{"b/..."}, itself: true, layers: "layer 0", modules: []string{"example.org/yaml"}},
		{layer: "2", packages: []string{"c"}, layers: "layers 0–1"},
	}
	tests := []struct {
		row  int
		path string
		want bool
	}{
		{0, "net/http", true},
		{0, "example.org/yaml", false},
		{0, module + "b", false},
		{1, module + "internal/a", true},
		{1, module + "b/x", true},
		{1, module + "c", false},
		{1, "example.org/yaml/v2", true},
		{1, "example.org/yamlish", false},
		{2, module + "b/x", true},
		{2, module + "c", false},
	}
	for _, tt := range tests {
		if got := rows[tt.row].allows(rows, tt.path); got != tt.want {
			t.Errorf("layer %s allows %s: %v; want %v", rows[tt.row].layer, tt.path, got, tt.want)
		}
	}
}
