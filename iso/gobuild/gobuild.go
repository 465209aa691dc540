// Package gobuild compiles the programs of the OS from the module's go.mod:
// Docker's engine and our own. The table below is the list of what is shipped.
package gobuild

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/bulkhead-os/bulkhead/iso/command"
)

// EngineVersion is the Docker Engine release whose source is tagged as the
// version of github.com/moby/moby/v2 in go.mod; the module itself does not
// say. moby's releases/versions.yaml in the module names the release before it.
// Change it together with go.mod.
const EngineVersion = "29.8.1"

// engineModule is the version of github.com/moby/moby/v2 that EngineVersion
// belongs to.
const engineModule = "v2.0.0-beta.24"

// Modules whose version is stamped into a program.
const (
	moby       = "github.com/moby/moby/v2"
	cli        = "github.com/docker/cli"
	compose    = "github.com/docker/compose/v5"
	buildx     = "github.com/docker/buildx"
	containerd = "github.com/containerd/containerd/v2"
	runc       = "github.com/opencontainers/runc"
)

// A Program is one binary.
type Program struct {
	// Name is the file name of the result.
	Name    string
	Package string
	Tags    string
	// GCFlags are compiler flags as PATTERN=FLAGS; of those that match a
	// package the last counts. They follow small.
	GCFlags []string
	// Cgo programs are linked statically against the host's C libraries.
	Cgo bool
	// Stamp sets string variables: variable → value.
	Stamp map[string]string
}

// What these tags leave out is never used here: the system's containerd and the
// user's are dockerd's alone, and neither runs inside it.
// NRI plug-ins are programs; those in WebAssembly would take an interpreter.
// gRPC's request traces have no page to be read on; without them the linker
// can tell which methods the shim never calls: it is a third smaller.
const tags = "no_btrfs no_zfs no_cri no_devmapper no_embedded_containerd nri_no_wasm grpcnotrace"

// dockerCLI has no go.mod, so the compiler takes it for Go 1.16.
const dockerCLI = "github.com/docker/cli/...=-l -lang=go1.26"

// GoFlags returns the value of GOFLAGS, to be used with CGO_ENABLED=0, with
// which tests are compiled from the same packages as the engine: each of its
// two thousand once.
func GoFlags() string {
	flags := []string{"-trimpath", "'-tags=" + tags + "'"}
	for _, f := range append(slices.Clone(small), dockerCLI) {
		flags = append(flags, "'-gcflags="+f+"'")
	}
	return strings.Join(flags, " ")
}

// Programs returns all programs, with what `version` commands will show.
// The modules are from Modules; version is the OS's own, and built the time of
// its commit in seconds.
func Programs(modules map[string]Module, version string, built int64) ([]Program, error) {
	if modules[moby].Version != engineModule {
		return nil, fmt.Errorf("go.mod has %s %s, but gobuild.EngineVersion %s is the release of %s: change both together",
			moby, modules[moby].Version, EngineVersion, engineModule)
	}
	// A client of another release says versions that nobody ever tried together.
	if want := "v" + EngineVersion + "+incompatible"; modules[cli].Version != want {
		return nil, fmt.Errorf("go.mod has %s %s, want %s, the release of the engine", cli, modules[cli].Version, want)
	}
	const (
		ownversion        = "github.com/bulkhead-os/bulkhead/internal/version."
		dockerversion     = moby + "/dockerversion."
		cliversion        = cli + "/cli/version."
		containerdversion = containerd + "/version."
	)
	gcflags := []string{dockerCLI}
	return []Program{
		{Name: "init", Package: "./init", Stamp: map[string]string{ownversion + "built": strconv.FormatInt(built, 10)}},
		{Name: "modprobe", Package: "./cmd/modprobe"},
		{Name: "ros", Package: "./cmd/ros", GCFlags: gcflags, Stamp: map[string]string{
			ownversion + "Version": version,
		}},
		{Name: "engine", Package: "./cmd/engine", Tags: tags, GCFlags: gcflags, Stamp: map[string]string{
			containerdversion + "Version":  modules[containerd].Version,
			containerdversion + "Revision": modules[containerd].Version, // docker info names it
			dockerversion + "Version":      EngineVersion,
			dockerversion + "GitCommit":    modules[moby].Version,
			dockerversion + "BuildTime":    modules[moby].Time,
			dockerversion + "PlatformName": "Docker Engine (Bulkhead)",
			cliversion + "Version":         EngineVersion,
			cliversion + "GitCommit":       modules[cli].Version,
			cliversion + "BuildTime":       modules[cli].Time,
			cliversion + "PlatformName":    "Docker Engine (Bulkhead)",
			compose + "/internal.Version":  modules[compose].Version,
			buildx + "/version.Version":    modules[buildx].Version,
			buildx + "/version.Revision":   modules[buildx].Version,
		}},
		{Name: "docker-proxy", Package: moby + "/cmd/docker-proxy"},
		{Name: "containerd-shim-runc-v2", Package: containerd + "/cmd/containerd-shim-runc-v2", Tags: tags, Stamp: map[string]string{
			containerdversion + "Version": modules[containerd].Version,
		}},
		{Name: "runc", Package: runc, Tags: "seccomp", Cgo: true, Stamp: map[string]string{"main.gitCommit": modules[runc].Version}},
	}, nil
}

// small leaves out inlining where no time is lost by it: a boot is dominated by
// reading programs, which are a tenth smaller so (docs/adr/003-compression.md).
var small = []string{"all=-l", "std=", "github.com/klauspost/compress/...="}

// A Module is a version of a module and when it was made.
type Module struct {
	Path, Version, Time string
}

// Modules asks the go command which versions of the engine's modules go.mod
// selects.
func Modules(ctx context.Context, dir string) (map[string]Module, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-json=Path,Version,Time", moby, cli, compose, buildx, containerd, runc)
	cmd.Dir = dir
	out, err := command.Output(cmd)
	if err != nil {
		return nil, err
	}
	modules := make(map[string]Module)
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var m Module
		if err := dec.Decode(&m); err != nil {
			return nil, fmt.Errorf("go list -m: %w", err)
		}
		modules[m.Path] = m
	}
	return modules, nil
}

// Build compiles p from the module in dir into out/<name>. The result of the
// same source is the same file; one that is up to date is left alone.
func Build(ctx context.Context, dir, out string, p Program) error {
	cmd := exec.CommandContext(ctx, "go", p.args(filepath.Join(out, p.Name))...)
	cmd.Dir = dir
	cgo := "0"
	if p.Cgo {
		cgo = "1"
	}
	cmd.Env = append(os.Environ(), "CGO_ENABLED="+cgo, "GOOS=linux", "GOARCH=amd64", "GOFLAGS=-mod=readonly")
	return command.Run(cmd)
}

func (p Program) args(out string) []string {
	ldflags := []string{"-s", "-w"}
	for _, name := range sortedKeys(p.Stamp) {
		ldflags = append(ldflags, fmt.Sprintf("-X '%s=%s'", name, p.Stamp[name]))
	}
	if p.Cgo {
		ldflags = append(ldflags, "-extldflags -static")
	}
	args := []string{"build", "-trimpath", "-buildvcs=false", "-ldflags", strings.Join(ldflags, " ")}
	if p.Tags != "" {
		args = append(args, "-tags", p.Tags)
	}
	for _, flags := range slices.Concat(small, p.GCFlags) {
		args = append(args, "-gcflags", flags)
	}
	return append(args, "-o", out, p.Package)
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
