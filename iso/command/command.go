// Package command runs the outside programs of the build and turns their
// failures into errors that carry what they said. It does not choose them.
package command

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// maxTail is how many bytes of a failed program's output an error quotes.
const maxTail = 2000

// Run runs cmd; the error quotes the end of its output.
func Run(cmd *exec.Cmd) error {
	var out bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout = &out
	}
	if cmd.Stderr == nil {
		cmd.Stderr = &out
	}
	if err := cmd.Run(); err != nil {
		return describe(cmd, err, out.Bytes())
	}
	return nil
}

// Output runs cmd and returns its standard output.
func Output(cmd *exec.Cmd) ([]byte, error) {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, describe(cmd, err, stderr.Bytes())
	}
	return out, nil
}

func describe(cmd *exec.Cmd, err error, said []byte) error {
	if len(said) > maxTail {
		said = said[len(said)-maxTail:]
	}
	line := filepath.Base(cmd.Path) + " " + strings.Join(cmd.Args[1:], " ")
	if len(line) > 200 {
		line = line[:200] + "…"
	}
	return fmt.Errorf("%s: %w\n%s", line, err, bytes.TrimSpace(said))
}
