package debian

import (
	"context"
	"os/exec"
	"strings"
)

// Bootstrap returns the command with which mmdebstrap(1) makes a whole Debian
// with packages in target, a folder or a tar; options are more of its own.
func (m Mirrors) Bootstrap(ctx context.Context, target string, packages []string, options ...string) *exec.Cmd {
	return m.BootstrapRelease(ctx, Suite, target, packages, options...)
}

// BootstrapRelease is Bootstrap for another release than that of the images.
func (m Mirrors) BootstrapRelease(ctx context.Context, release, target string, packages []string, options ...string) *exec.Cmd {
	args := []string{"--quiet", "--variant=minbase"}
	if len(packages) > 0 {
		args = append(args, "--include="+strings.Join(packages, ","))
	}
	args = append(args, options...)
	args = append(args, release, target)
	for line := range strings.Lines(m.sources(release, "")) {
		args = append(args, strings.TrimSpace(line))
	}
	return exec.CommandContext(ctx, "mmdebstrap", args...)
}
