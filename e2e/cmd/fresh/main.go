// Command fresh runs the README's first command on a machine that has nothing: a
// minimal Debian or Ubuntu without a package of ours, without Go, and with an
// empty home but for the caches that hold downloads and what was made of them.
// It needs root and mmdebstrap.
package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/bulkhead-os/bulkhead/iso/command"
	"github.com/bulkhead-os/bulkhead/iso/debian"
)

// enter is what runs a command in the machine.
//
//go:embed enter.sh
var enter string

// Places in the machine.
const (
	home  = "/root"
	clone = home + "/bulkhead"
)

// A release is one that the README promises.
type release struct {
	name string
	// ubuntu tells where its packages are: in Debian's archive or in Ubuntu's.
	ubuntu bool
	// noGo is set where the release's own Go is too old to fetch another.
	noGo bool
}

var releases = []release{
	{name: "trixie"},
	{name: "bookworm", noGo: true},
	{name: "noble", ubuntu: true},
	{name: "jammy", ubuntu: true},
}

// ubuntuMirror names a mirror of Ubuntu, which a Debian host does not know of.
const ubuntuMirror = "BULKHEAD_UBUNTU_MIRROR"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "fresh:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	i := slices.IndexFunc(releases, func(r release) bool { return len(args) == 1 && r.name == args[0] })
	if i < 0 {
		return errors.New("want the name of a release: trixie, bookworm, noble, jammy")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	m := machine{release: releases[i], cache: filepath.Join(cache, "bulkhead")}
	if m.root, err = os.MkdirTemp("/var/tmp", "fresh-*"); err != nil {
		return err
	}
	defer os.RemoveAll(m.root)
	if err := m.install(ctx); err != nil {
		return err
	}
	if err := m.cloneRepository(ctx); err != nil {
		return err
	}
	return m.try(ctx)
}

// A machine is a fresh one: a file tree to run commands in.
type machine struct {
	release
	root, cache string
}

// install unpacks a minimal system, which is made once.
func (m machine) install(ctx context.Context) error {
	archive := filepath.Join(m.cache, "fresh", m.name+".tar")
	if _, err := os.Stat(archive); err != nil {
		if err := os.MkdirAll(filepath.Dir(archive), 0o755); err != nil {
			return err
		}
		cmd, err := m.bootstrap(ctx, archive+".part.tar")
		if err != nil {
			return err
		}
		if err := command.Run(cmd); err != nil {
			return err
		}
		if err := os.Rename(archive+".part.tar", archive); err != nil {
			return err
		}
	}
	if err := command.Run(exec.CommandContext(ctx, "tar", "-C", m.root, "--exclude=./dev/*", "-xf", archive)); err != nil {
		return err
	}
	for _, file := range []string{"/etc/resolv.conf", "/etc/hosts"} {
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(m.root, file), content, 0o644); err != nil {
			return err
		}
	}
	// Nobody pulls the plug of this machine, and its disk is the build's.
	if err := os.WriteFile(filepath.Join(m.root, "etc/dpkg/dpkg.cfg.d/fresh"), []byte("force-unsafe-io\n"), 0o644); err != nil {
		return err
	}
	// Where a proxy of the host's network shows certificates of its own.
	trust := "/usr/local/share/ca-certificates"
	if err := os.MkdirAll(filepath.Join(m.root, trust), 0o755); err != nil {
		return err
	}
	return os.CopyFS(filepath.Join(m.root, trust), os.DirFS(trust))
}

// bootstrap returns the command that makes the minimal system.
func (m machine) bootstrap(ctx context.Context, archive string) (*exec.Cmd, error) {
	if m.ubuntu {
		mirror := os.Getenv(ubuntuMirror)
		if mirror == "" {
			return nil, fmt.Errorf("%s needs a mirror of Ubuntu: set %s", m.name, ubuntuMirror)
		}
		return exec.CommandContext(ctx, "mmdebstrap", "--quiet", "--variant=minbase", "--components=main,universe", m.name, archive, mirror), nil
	}
	mirrors, err := debian.FindMirrors(ctx, os.Getenv)
	if err != nil {
		return nil, err
	}
	return mirrors.BootstrapRelease(ctx, m.name, archive, nil), nil
}

// cloneRepository clones this repository into the machine, with what is changed
// in it and not yet committed.
func (m machine) cloneRepository(ctx context.Context) error {
	to := filepath.Join(m.root, clone)
	if err := command.Run(exec.CommandContext(ctx, "git", "clone", "--quiet", "--no-hardlinks", ".", to)); err != nil {
		return err
	}
	changed, err := exec.CommandContext(ctx, "git", "ls-files", "-z", "--modified", "--others", "--deleted", "--exclude-standard").Output()
	if err != nil {
		return fmt.Errorf("git ls-files: %w", err)
	}
	for _, name := range strings.FieldsFunc(string(changed), func(r rune) bool { return r == 0 }) {
		if _, err := os.Lstat(name); err != nil {
			if err := os.RemoveAll(filepath.Join(to, name)); err != nil {
				return err
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o755); err != nil {
			return err
		}
		if err := command.Run(exec.CommandContext(ctx, "cp", "-a", name, filepath.Join(to, name))); err != nil {
			return err
		}
	}
	return nil
}

// try follows the README: one command, then a login.
func (m machine) try(ctx context.Context) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	var folders []string
	if m.noGo {
		out, err := m.command(ctx, nil, "./scripts/run", "--headless").CombinedOutput()
		if err == nil || !bytes.Contains(out, []byte("go.dev/dl")) {
			return fmt.Errorf("./scripts/run does not end with where to get a Go that works:\n%s", out)
		}
		goroot, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
		if err != nil {
			return fmt.Errorf("go env: %w", err)
		}
		folders = append(folders, strings.TrimSpace(string(goroot))+":/usr/local/go")
	}
	// One shell: what runs in the machine ends with the command that was started.
	cmd := m.command(ctx, folders, "/bin/sh", "-ec", `
		./scripts/run --headless --ssh-port "$1"
		SSH_PORT=$1 ./scripts/ssh docker info --format "'user Docker {{.ServerVersion}}'"
		./scripts/run --stop`, "sh", port)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

// command prepares a command that runs in the machine, in the clone.
func (m machine) command(ctx context.Context, folders []string, argv ...string) *exec.Cmd {
	goCaches, err := exec.CommandContext(ctx, "go", "env", "GOMODCACHE", "GOCACHE").Output()
	if caches := strings.Fields(string(goCaches)); err == nil && len(caches) == 2 {
		folders = append(folders, caches[0]+":"+home+"/go/pkg/mod", caches[1]+":"+home+"/.cache/go-build")
	}
	folders = append(folders, m.cache+":"+home+"/.cache/bulkhead",
		filepath.Join(m.cache, "fresh", m.name+"-archives")+":/var/cache/apt/archives")
	args := []string{"--mount", "--pid", "--ipc", "--fork", "--kill-child", "sh", "-c", enter, "enter", m.root, strings.Join(folders, "\n"), clone}
	for _, name := range []string{"http_proxy", "https_proxy", "no_proxy", "GOPROXY", "GONOSUMDB", "GOSUMDB", debian.MirrorVar, debian.SecurityMirrorVar} {
		if value, ok := os.LookupEnv(name); ok {
			args = append(args, name+"="+value)
		}
	}
	return exec.CommandContext(ctx, "unshare", append(args, argv...)...)
}
