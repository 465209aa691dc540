package debian

import (
	"context"
	"os/exec"
	"strings"
)

// Bootstrap returns the command with which mmdebstrap(1) makes a whole Debian
// with packages in target, a folder or a tar; options are more of its own.
func (m Mirrors) Bootstrap(ctx context.Context, target string, packages []string, options ...string) *exec.Cmd {
	args := append([]string{"--quiet", "--variant=minbase", "--include=" + strings.Join(packages, ",")}, options...)
	args = append(args, Suite, target)
	for line := range strings.Lines(m.sources("")) {
		args = append(args, strings.TrimSpace(line))
	}
	return exec.CommandContext(ctx, "mmdebstrap", args...)
}
