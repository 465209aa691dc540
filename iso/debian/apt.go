package debian

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/renameio/v2"

	"github.com/bulkhead-os/bulkhead/iso/command"
)

// keyring is where the package debian-archive-keyring has Debian's keys.
const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// assumed lists packages that apt takes for installed: others depend on
// them for their maintainer scripts only, and those never run here.
//
//go:embed assumed.list
var assumed string

// A Package is one binary package that apt chose.
type Package struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Arch    string `json:"arch"`
	URI     string `json:"uri"`
	Size    int64  `json:"size"`
	SHA256  string `json:"sha256"`
}

// An Archive is an apt root with trixie's package lists.
type Archive struct {
	dir    string
	config string
}

// Open makes the apt root in dir, or reuses it. Lists older than maxAge are
// fetched again, from the mirrors that getenv or the host's configuration name.
func Open(ctx context.Context, dir string, maxAge time.Duration, getenv func(string) string) (*Archive, error) {
	if _, err := os.Stat(keyring); err != nil {
		return nil, fmt.Errorf("keys of Debian's archive: %w; install debian-archive-keyring", err)
	}
	a := &Archive{dir: dir, config: filepath.Join(dir, "apt.conf")}
	for _, d := range []string{"lists/partial", "cache/archives/partial", "parts", "resolved", "debs"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	for name, text := range map[string]string{"apt.conf": aptConfig(dir), "status": status(assumed)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	stamp := filepath.Join(dir, "refreshed")
	if fi, err := os.Stat(stamp); err == nil && time.Since(fi.ModTime()) < maxAge {
		return a, nil
	}
	mirrors, err := FindMirrors(ctx, getenv)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "sources.list"), []byte(mirrors.sources(Suite, "[signed-by="+keyring+"] ")), 0o644); err != nil {
		return nil, err
	}
	// Without --error-on a mirror that is down leaves the old lists and no error.
	if err := command.Run(a.apt(ctx, "apt-get", "-q", "update", "--error-on=any")); err != nil {
		return nil, err
	}
	return a, os.WriteFile(stamp, nil, 0o644)
}

// aptConfig overrides the places of the host's configuration; its proxies and
// credentials stay in force.
func aptConfig(dir string) string {
	return fmt.Sprintf(`Dir::State %[1]q;
Dir::State::lists "lists";
Dir::State::status "%[1]s/status";
Dir::Cache "%[1]s/cache";
Dir::Etc::sourcelist "%[1]s/sources.list";
Dir::Etc::sourceparts "%[1]s/parts";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "%[1]s/parts";
APT::Architecture "amd64";
APT::Architectures { "amd64"; };
APT::Install-Recommends "false";
APT::Install-Suggests "false";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::ForceHash "SHA256";
`, dir)
}

// status is a dpkg status file in which the listed packages are installed, in
// a version that satisfies every dependency.
func status(list string) string {
	var b strings.Builder
	for _, line := range Lines(list) {
		f := strings.Fields(line)
		fmt.Fprintf(&b, "Package: %s\nStatus: install ok installed\nVersion: 9999:0\nArchitecture: amd64\n"+
			"Multi-Arch: allowed\nMaintainer: none\nDescription: assumed\n", f[0])
		if len(f) > 1 {
			fmt.Fprintf(&b, "Provides: %s\n", strings.Join(f[1:], ", "))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// Lines returns the non-empty lines of a list without comments.
func Lines(list string) []string {
	var out []string
	for line := range strings.Lines(list) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	return out
}

func (a *Archive) apt(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "APT_CONFIG="+a.config, "LC_ALL=C")
	return cmd
}

// Resolve returns the named packages and all that they depend on, without
// recommended packages, sorted by name.
func (a *Archive) Resolve(ctx context.Context, names []string) ([]Package, error) {
	key, err := a.resolveKey(names)
	if err != nil {
		return nil, err
	}
	memo := filepath.Join(a.dir, "resolved", key+".json")
	if raw, err := os.ReadFile(memo); err == nil {
		var pkgs []Package
		return pkgs, json.Unmarshal(raw, &pkgs)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	args := append([]string{"-qq", "-y", "--print-uris", "install", "--"}, names...)
	out, err := command.Output(a.apt(ctx, "apt-get", args...))
	if err != nil {
		return nil, err
	}
	pkgs, err := parseURIs(string(out))
	if err != nil {
		return nil, err
	}
	raw, err := json.MarshalIndent(pkgs, "", "  ")
	if err != nil {
		return nil, err
	}
	return pkgs, renameio.WriteFile(memo, raw, 0o644)
}

// resolveKey changes when the question or the package lists change.
func (a *Archive) resolveKey(names []string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, assumed, names)
	lists, err := filepath.Glob(filepath.Join(a.dir, "lists", "*Release"))
	if err != nil {
		return "", err
	}
	for _, l := range lists {
		raw, err := os.ReadFile(l)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %x\n", filepath.Base(l), sha256.Sum256(raw))
	}
	return hex.EncodeToString(h.Sum(nil))[:32], nil
}

// parseURIs reads apt-get --print-uris: 'address' file size SHA256:hash.
func parseURIs(out string) ([]Package, error) {
	var pkgs []Package
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) == 0 || !strings.HasPrefix(f[0], "'") {
			continue
		}
		if len(f) != 4 {
			return nil, fmt.Errorf("apt-get --print-uris: %q: want four fields", strings.TrimSpace(line))
		}
		name := strings.Split(strings.TrimSuffix(f[1], ".deb"), "_")
		size, err := strconv.ParseInt(f[2], 10, 64)
		sum, ok := strings.CutPrefix(f[3], "SHA256:")
		if len(name) != 3 || err != nil || !ok || len(sum) != 2*sha256.Size {
			return nil, fmt.Errorf("apt-get --print-uris: %q: want name_version_arch.deb, size, SHA256", strings.TrimSpace(line))
		}
		version, err := url.PathUnescape(name[1])
		if err != nil {
			return nil, fmt.Errorf("apt-get --print-uris: %w", err)
		}
		pkgs = append(pkgs, Package{
			Name: name[0], Version: version, Arch: name[2],
			URI: strings.Trim(f[0], "'"), Size: size, SHA256: sum,
		})
	}
	slices.SortFunc(pkgs, func(a, b Package) int { return strings.Compare(a.Name, b.Name) })
	return pkgs, nil
}
