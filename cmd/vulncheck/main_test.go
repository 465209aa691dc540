package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const config = `{"config": {"db": "https://vuln.go.dev", "db_last_modified": "2026-11-01T00:00:00Z", "scan_level": "package"}}
`

const (
	required = `{"finding": {"osv": "GO-2026-0001", "trace": [{"module": "example.org/a", "version": "v1.0.0"}]}}
`
	reached = `{"osv": {"id": "GO-2026-0001", "summary": "a hole"}}
{"finding": {"osv": "GO-2026-0001", "fixed_version": "v1.0.1", "trace": [{"module": "example.org/a", "version": "v1.0.0", "package": "example.org/a/b"}]}}
`
)

func TestRun(t *testing.T) {
	for _, tt := range []struct {
		name, in, reasons string
		out, err          string
	}{
		{"nothing found", config, "# none\n", "0 reached, 0 in", ""},
		{"required only", config + required, "", "0 reached, 1 in", ""},
		{"reached", config + required + reached, "", "GO-2026-0001 a hole\n  example.org/a@v1.0.0: example.org/a/b; fixed in v1.0.1", "write a line with the reason: GO-2026-0001"},
		{"accepted", config + reached, "GO-2026-0001 only root calls it", "accepted: only root calls it", ""},
		{"stale", config + required, "GO-2026-0001 only root calls it", "0 reached", "delete the line: GO-2026-0001"},
		{"no reason", config, "GO-2026-0001", "", "line 1: expected GO-YEAR-NUMBER and a reason"},
		{"twice", config, "GO-2026-0001 a\nGO-2026-0001 b", "", "line 2: GO-2026-0001 has a reason already"},
		{"no answer", "", "", "", "govulncheck said nothing"},
		{"cut off", config + `{"finding":`, "", "", "unexpected EOF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "reasons")
			if err := os.WriteFile(file, []byte(tt.reasons), 0o644); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			err := run(strings.NewReader(tt.in), &out, file)
			if !strings.Contains(out.String(), tt.out) {
				t.Errorf("output %q; want %q in it", out.String(), tt.out)
			}
			if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("error %v; want %q in it", err, tt.err)
			}
		})
	}
}
