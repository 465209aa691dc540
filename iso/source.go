package iso

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/bulkhead-os/bulkhead/iso/command"
)

// versionRE is the form of the file VERSION.
var versionRE = regexp.MustCompile(`^v\d+\.\d+\.\d+(-[0-9A-Za-z.]+)?$`)

// source is what a build knows about the tree it is made from.
type source struct {
	// Version is the content of VERSION, Commit the short hash of the commit,
	// with "-dirty" when the tree differs from it.
	Version, Commit string
	// Epoch is the time of the commit, in seconds: the only time in the build.
	Epoch int64
}

// readSource reads version and commit of the tree in dir. SOURCE_DATE_EPOCH
// wins over the commit's time, and is needed outside a git tree.
func readSource(ctx context.Context, dir string, getenv func(string) string) (source, error) {
	raw, err := os.ReadFile(filepath.Join(dir, "VERSION"))
	if err != nil {
		return source{}, err
	}
	s := source{Version: strings.TrimSpace(string(raw)), Commit: "unknown"}
	if !versionRE.MatchString(s.Version) {
		return source{}, fmt.Errorf("VERSION: %q; want v1.2.3", s.Version)
	}
	git := func(args ...string) (string, error) {
		out, err := command.Output(exec.CommandContext(ctx, "git", append([]string{"-C", dir}, args...)...))
		return strings.TrimSpace(string(out)), err
	}
	epoch := getenv("SOURCE_DATE_EPOCH")
	log, err := git("log", "-1", "--format=%h %ct")
	if err != nil && epoch == "" {
		return source{}, fmt.Errorf("time of the last commit: %w; set SOURCE_DATE_EPOCH", err)
	}
	if hash, date, ok := strings.Cut(log, " "); ok {
		s.Commit = hash
		if epoch == "" {
			epoch = date
		}
		if changes, err := git("status", "--porcelain", "--untracked-files=no"); err == nil && changes != "" {
			s.Commit += "-dirty"
		}
	}
	s.Epoch, err = strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return source{}, fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	return s, nil
}
