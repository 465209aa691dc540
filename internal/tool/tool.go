// Package tool runs the programs of Debian that services do their work with.
package tool

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// killDelay is how long a program that is to end may keep its output open.
const killDelay = 2 * time.Second

// Run runs a program with an input. The error has its name and what it said, in
// one line, but not its arguments and input, which may be secret.
func Run(ctx context.Context, input string, argv ...string) error {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin = strings.NewReader(input)
	cmd.WaitDelay = killDelay
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil && err != nil {
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(argv[0]), err, bytes.ReplaceAll(bytes.TrimSpace(out), []byte("\n"), []byte("; ")))
	}
	return nil
}
