package osconfig

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// secret is in files of the corpus where people put passwords by mistake.
const secret = "hunter2"

// Each file in testdata/broken has mistakes; the file .want beside it lists
// them as they are told. With -update they are written.
func TestBroken(t *testing.T) {
	files := glob(t, "testdata/broken/*.yml")
	if len(files) < 120 {
		t.Errorf("%d files; want 120", len(files))
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			cfg := Defaults()
			var got strings.Builder
			problems := cfg.Merge("", text)
			for _, p := range problems {
				if strings.HasSuffix(p.Text, "in this version") {
					continue // which changes from version to version
				}
				got.WriteString(strings.TrimPrefix(strings.TrimPrefix(p.String(), ":"), " ") + "\n")
			}
			if strings.Contains(got.String(), secret) || strings.Contains(got.String(), "aHVudGVyMg") {
				t.Errorf("a secret in %s", got.String())
			}
			if !AnyError(problems) {
				t.Error("no mistake found")
			}
			wantFile := strings.TrimSuffix(file, ".yml") + ".want"
			if *update {
				if err := os.WriteFile(wantFile, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(wantFile)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

// testdata/rancheros holds equivalents of RancherOS's own test
// configurations. They are right; what is warned of is in the file .want.
func TestRancherOS(t *testing.T) {
	for _, file := range glob(t, "testdata/rancheros/*.yml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			cfg := Defaults()
			var got strings.Builder
			for _, p := range cfg.Merge("", text) {
				if p.Severity == Error {
					t.Error(p)
				}
				if !strings.HasSuffix(p.Text, "in this version") {
					got.WriteString(strings.TrimPrefix(p.String(), ":") + "\n")
				}
			}
			wantFile := strings.TrimSuffix(file, ".yml") + ".want"
			if *update && got.Len() > 0 {
				if err := os.WriteFile(wantFile, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(wantFile)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no files %s: %v", pattern, err)
	}
	return files
}

// Every key of cloud-init's schema of cloud-configs (schema-cloud-config-v1.json)
// is known or has an answer.
func TestCloudInitKeys(t *testing.T) {
	text, err := os.ReadFile("testdata/cloud-init-keys.txt")
	if err != nil {
		t.Fatal(err)
	}
	keys := strings.Fields(string(text))
	if len(keys) < 90 {
		t.Errorf("%d keys", len(keys))
	}
	for _, key := range append(keys, "no_such_key") {
		cfg := Defaults()
		unknown := false
		for _, p := range cfg.Merge("", []byte(key+": ~\n")) {
			unknown = unknown || strings.HasPrefix(p.Text, "unknown key")
		}
		if unknown != (key == "no_such_key") {
			t.Errorf("%s: unknown is %v", key, unknown)
		}
	}
}
