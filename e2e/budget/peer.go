// Package budget measures the system against its budgets: the size of the ISO,
// the time from the kernel's start until both Docker APIs answer and the
// memory in use when idle, next to a plain Debian with systemd and the same
// engine in the same QEMU. It has no opinion on whether a figure is good
// enough; docs/budgets.md and the tests have.
package budget

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/bulkhead-os/bulkhead/iso/command"
	"github.com/bulkhead-os/bulkhead/iso/debian"
)

// A Peer is the machine that the system is compared with.
type Peer struct{ Kernel, Initrd, Disk string }

// setup makes the peer's root file system out of a fresh mmdebstrap tree.
//
//go:embed peer-setup.sh
var setup string

// packages of the peer: what a person installs who wants Docker on Debian.
var packages = []string{
	"ca-certificates", "dbus", "dhcpcd-base", "ifupdown", "iproute2", "iptables", "kmod", "linux-image-amd64",
	"nftables", "openssh-server", "procps", "systemd", "systemd-sysv", "systemd-timesyncd", "udev",
}

// engine are the programs of the engine that the peer runs, by Go package.
// They are built with the flags of the build, so its cache serves both.
var engine = []struct{ pkg, tags string }{
	{"github.com/moby/moby/v2/cmd/dockerd", ""},
	{"github.com/moby/moby/v2/cmd/docker-proxy", ""},
	{"github.com/containerd/containerd/v2/cmd/containerd", "no_btrfs no_zfs no_cri no_aufs no_devmapper"},
	{"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2", "no_btrfs no_zfs no_cri no_aufs no_devmapper"},
}

// BuildPeer returns the peer, which is made only if its description or the
// engine's versions changed; it takes some minutes. cache is a directory that
// lasts. It needs root, mmdebstrap and mkfs.ext4.
func BuildPeer(ctx context.Context, cache string, log io.Writer) (Peer, error) {
	sum, err := os.ReadFile("go.sum")
	if err != nil {
		return Peer{}, fmt.Errorf("run from the root of the repository: %w", err)
	}
	digest := sha256.Sum256([]byte(setup + strings.Join(packages, " ") + fmt.Sprint(engine) + string(sum)))
	dir := filepath.Join(cache, "peer-"+hex.EncodeToString(digest[:8]))
	peer := Peer{filepath.Join(dir, "vmlinuz"), filepath.Join(dir, "initrd"), filepath.Join(dir, "disk.img")}
	if _, err := os.Stat(dir); err == nil {
		return peer, nil
	}
	work, err := os.MkdirTemp("", "peer-*")
	if err != nil {
		return peer, err
	}
	defer os.RemoveAll(work)
	fmt.Fprintln(log, "making the Debian peer, some minutes")
	if err := build(ctx, work); err != nil {
		return peer, err
	}
	// Appears whole or not at all.
	part := dir + ".part"
	if err := os.RemoveAll(part); err != nil {
		return peer, err
	}
	if err := os.MkdirAll(part, 0o755); err != nil {
		return peer, err
	}
	if err := pack(ctx, work, part); err != nil {
		return peer, err
	}
	return peer, os.Rename(part, dir)
}

// build fills work/bin with the engine and work/root with the file system.
func build(ctx context.Context, work string) error {
	bin := filepath.Join(work, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	for _, p := range engine {
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w",
			"-tags", p.tags, "-o", bin+"/", p.pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if err := command.Run(cmd); err != nil {
			return err
		}
	}
	runc := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -extldflags -static", "-tags", "seccomp", "-o", bin+"/", "github.com/opencontainers/runc")
	if err := command.Run(runc); err != nil {
		return err
	}
	mirrors, err := debian.FindMirrors(ctx, os.Getenv)
	if err != nil {
		return err
	}
	hook := filepath.Join(work, "setup")
	if err := os.WriteFile(hook, []byte(setup), 0o755); err != nil {
		return err
	}
	return command.Run(mirrors.Bootstrap(ctx, filepath.Join(work, "root"), packages,
		"--customize-hook=cp "+bin+"/* \"$1\"/usr/local/bin/", "--customize-hook="+hook))
}

// pack turns work/root into the files of a peer.
func pack(ctx context.Context, work, dir string) error {
	root := filepath.Join(work, "root")
	for name, pattern := range map[string]string{"vmlinuz": "vmlinuz-*", "initrd": "initrd.img-*"} {
		found, err := filepath.Glob(filepath.Join(root, "boot", pattern))
		if err != nil || len(found) != 1 {
			return fmt.Errorf("peer: %d files match /boot/%s", len(found), pattern)
		}
		if err := command.Run(exec.CommandContext(ctx, "cp", found[0], filepath.Join(dir, name))); err != nil {
			return err
		}
	}
	return command.Run(exec.CommandContext(ctx, "mkfs.ext4", "-q", "-L", "PEER", "-d", root, filepath.Join(dir, "disk.img"), "4G"))
}
