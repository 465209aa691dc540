// Package debian finds, resolves and fetches the Debian packages that the
// images are made of, with apt in a root of its own: the host's own package
// state is neither used nor changed. It does not lay out images.
package debian

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"github.com/bulkhead-os/bulkhead/iso/command"
)

// Suite is the Debian release that the images are made of.
const Suite = "trixie"

// Environment variables that name a mirror where the host has none of Debian
// (Ubuntu) or another is wanted.
const (
	MirrorVar         = "BULKHEAD_MIRROR"
	SecurityMirrorVar = "BULKHEAD_SECURITY_MIRROR"
)

// Mirrors are the base addresses of Debian's archive and of its security archive.
type Mirrors struct {
	Main, Security string
}

// errNoMirror says what to do about a host without Debian sources.
var errNoMirror = errors.New("this machine's apt configuration names no mirror of Debian; set " +
	MirrorVar + " and " + SecurityMirrorVar + " to the addresses of a mirror of debian and of debian-security")

// FindMirrors takes the mirrors from the environment or else from the host's
// own apt configuration.
func FindMirrors(ctx context.Context, getenv func(string) string) (Mirrors, error) {
	m := Mirrors{Main: getenv(MirrorVar), Security: getenv(SecurityMirrorVar)}
	if m.Main == "" || m.Security == "" {
		out, err := command.Output(exec.CommandContext(ctx, "apt-get", "indextargets",
			"--format", "$(ORIGIN)\t$(LABEL)\t$(REPO_URI)", "Created-By: Packages"))
		if err != nil {
			return Mirrors{}, err
		}
		host := parseTargets(string(out))
		if m.Main == "" {
			m.Main = host.Main
		}
		if m.Security == "" {
			m.Security = host.Security
		}
	}
	if m.Main == "" || m.Security == "" {
		return Mirrors{}, errNoMirror
	}
	return m, nil
}

// parseTargets picks the first archive of each kind from lines of
// "origin TAB label TAB address".
func parseTargets(out string) Mirrors {
	var m Mirrors
	for line := range strings.Lines(out) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		if len(f) != 3 || f[0] != "Debian" {
			continue
		}
		switch {
		case f[1] == "Debian" && m.Main == "":
			m.Main = f[2]
		case f[1] == "Debian-Security" && m.Security == "":
			m.Security = f[2]
		}
	}
	return m
}

// sources is a sources.list(5) of a release; options are those of each line.
func (m Mirrors) sources(release, options string) string {
	var b strings.Builder
	for _, s := range []struct{ uri, suite string }{
		{m.Main, release}, {m.Main, release + "-updates"}, {m.Security, release + "-security"},
	} {
		fmt.Fprintf(&b, "deb %s%s %s main\n", options, s.uri, s.suite)
	}
	return b.String()
}
