package osconfig

import (
	"os"
	"regexp"
	"testing"
)

// The files that the package's comment names exist.
func TestFilesOfTheComment(t *testing.T) {
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	files := regexp.MustCompile(`\b[a-z_]+\.(go|json)\b`).FindAllString(string(text), -1)
	for _, file := range files {
		if _, err := os.Stat(file); err != nil {
			t.Errorf("doc.go: %v", err)
		}
	}
	if len(files) < 25 {
		t.Errorf("doc.go names %d files", len(files))
	}
}
