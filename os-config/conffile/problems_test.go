package conffile

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

func TestProblemFile(t *testing.T) {
	file := ProblemFile(filepath.Join(t.TempDir(), "problems"))
	check := func(text string, want ...osconfig.Problem) {
		t.Helper()
		got, err := file.Read()
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%v; values (-want +got):\n%s", err, diff)
		}
		lines, err := os.ReadFile(string(file))
		if string(lines) != text || os.IsNotExist(err) != (text == "") {
			t.Errorf("%v; lines:\n%s; want:\n%s", err, lines, text)
		}
	}
	// Neither a text that looks like a warning nor one of two lines is mistaken.
	bad := osconfig.Problem{Source: "user.yml", Line: 3, Column: 1, Key: "hostnme", Text: "unknown: warning: key"}
	odd := osconfig.Problem{Severity: osconfig.Warning, Source: "user.yml", Line: 4, Text: "no effect\nhere"}
	late := osconfig.Problem{Source: "console", Key: "runcmd", Text: "exit status 1"}
	check("")
	if err := file.Write([]osconfig.Problem{bad, odd}); err != nil {
		t.Fatal(err)
	}
	if err := file.Add(late); err != nil {
		t.Fatal(err)
	}
	check("user.yml:3:1: hostnme: unknown: warning: key\nuser.yml:4: warning: no effect\nhere\nconsole: runcmd: exit status 1\n",
		bad, odd, late)
	if err := file.Write(nil); err != nil {
		t.Fatal(err)
	}
	check("")
}
