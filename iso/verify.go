package iso

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// errDiffers means that two builds of one tree are not the same.
var errDiffers = errors.New("the second build differs")

// BuildTwice builds, builds again from scratch in another folder with the same
// packages, and compares. The second build stays for inspection if it differs.
func BuildTwice(ctx context.Context, cfg Config) error {
	if err := Build(ctx, cfg); err != nil {
		return err
	}
	second := cfg
	second.Out = filepath.Join(cfg.Out, "second")
	second.Derived = filepath.Join(second.Out, "derived")
	second.Archives = false
	if err := os.RemoveAll(second.Out); err != nil {
		return err
	}
	if err := Build(ctx, second); err != nil {
		return fmt.Errorf("second build: %w", err)
	}
	sums := func(out string) ([]byte, error) { return os.ReadFile(filepath.Join(out, "artifacts", "SHA256SUMS")) }
	a, err := sums(cfg.Out)
	if err != nil {
		return err
	}
	b, err := sums(second.Out)
	if err != nil {
		return err
	}
	if !bytes.Equal(a, b) {
		return fmt.Errorf("%w in %s; kept in %s", errDiffers, strings.Join(differing(a, b), ", "), second.Out)
	}
	fmt.Fprintln(cfg.Log, "both builds are the same")
	return os.RemoveAll(second.Out)
}

// differing returns the names whose lines are not in both lists.
func differing(a, b []byte) []string {
	var names []string
	for line := range strings.Lines(string(a)) {
		if !strings.Contains(string(b), line) {
			names = append(names, strings.TrimSpace(line[strings.Index(line, " "):]))
		}
	}
	return names
}
