package main

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/bulkhead-os/bulkhead/internal/layout"
	"golang.org/x/sys/unix"
)

// A node is a device node whose driver the kernel loads when somebody opens it:
// /dev/net/tun, /dev/fuse, /dev/loop-control.
type node struct {
	path         string
	block        bool
	major, minor uint32
}

// mode keeps everybody but root out until udevd, as it starts, gives each node
// the group and the mode of its rule (OPTIONS+="static_node=…").
func (n node) mode() uint32 {
	if n.block {
		return unix.S_IFBLK | 0o600
	}
	return unix.S_IFCHR | 0o600
}

// staticNodes reads a modules.devname of depmod(8): "tun net/tun c10:200".
func staticNodes(text string) ([]node, error) {
	var nodes []node
	var errs []error
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		n, err := staticNode(strings.Fields(line))
		if err != nil {
			errs = append(errs, fmt.Errorf("%q: %w", line, err))
			continue
		}
		nodes = append(nodes, n)
	}
	return nodes, errors.Join(errs...)
}

func staticNode(fields []string) (node, error) {
	if len(fields) != 3 || path.Join("/", fields[1]) != "/"+fields[1] {
		return node{}, errors.New("want a module, a path below /dev and a number")
	}
	kind, number := fields[2][:1], fields[2][1:]
	left, right, found := strings.Cut(number, ":")
	major, err := strconv.ParseUint(left, 10, 32)
	minor, err2 := strconv.ParseUint(right, 10, 32)
	if !found || err != nil || err2 != nil || kind != "c" && kind != "b" {
		return node{}, errors.New("want a number like c10:200")
	}
	return node{path: "/dev/" + fields[1], block: kind == "b", major: uint32(major), minor: uint32(minor)}, nil
}

// makeNodes makes the nodes of drivers that are not loaded yet.
func makeNodes(_ context.Context, b *boot) error {
	text, err := b.sys.ReadFile(path.Join(layout.ModulesDir, b.kernel, "modules.devname"))
	if err != nil {
		return err
	}
	nodes, err := staticNodes(text)
	errs := []error{err}
	for _, n := range nodes {
		if b.sys.Exists(n.path) {
			continue // the kernel has made it: the driver is there
		}
		if dir := path.Dir(n.path); !b.sys.Exists(dir) {
			errs = append(errs, b.sys.MakeDir(dir, 0o755))
		}
		errs = append(errs, b.sys.MakeNode(n))
	}
	return errors.Join(errs...)
}
