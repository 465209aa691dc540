// Package storage brings disks, file systems, mounts and swap space in line
// with the configuration. What to do is worked out first (MakePlan,
// and the functions that look at what is on a device); a Runner does it. What
// holds data is never overwritten unless the configuration says so, and what
// is mounted never.
package storage

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/bulkhead-os/bulkhead/internal/layout"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

// A Plan is what the configuration asks for, in the order of the fields.
type Plan struct {
	Disks       []Disk
	FileSystems []osconfig.FSSetup
	// Grow are mount points and devices of partitions that grow.
	Grow []string
	// Swap is nil without a swap file.
	Swap *SwapFile
	// Local needs no network, Remote does.
	Local, Remote []Mount
	// Problems are what cannot be done.
	Problems []string
}

// A Disk is a disk to partition.
type Disk struct {
	Device string
	osconfig.DiskSetup
}

// A SwapFile is a swap file to make and use.
type SwapFile struct {
	Path string
	// Size is in bytes, 0 for one that goes by the memory; Max bounds that.
	Size, Max int64
}

// A Mount is a file system to mount, or swap space to use.
type Mount struct {
	Device, Path, Type, Options string
	Swap                        bool
}

// String names a mount for people.
func (m Mount) String() string {
	if m.Swap {
		return "swap space " + m.Device
	}
	return m.Device + " on " + m.Path
}

// MakePlan returns the plan for a configuration.
func MakePlan(cfg osconfig.Config) Plan {
	var p Plan
	for _, name := range slices.Sorted(maps.Keys(cfg.DiskSetup)) {
		p.Disks = append(p.Disks, Disk{devicePath(name), cfg.DiskSetup[name]})
	}
	for _, fs := range cfg.FSSetup {
		fs.Device = osconfig.Device(devicePath(string(fs.Device)))
		fs.Filesystem = cmp.Or(fs.Filesystem, "ext4")
		p.FileSystems = append(p.FileSystems, fs)
	}
	p.Grow = growing(cfg)
	p.Swap = swapFile(cfg.Swap)
	for _, m := range mounts(cfg) {
		if m.remote() {
			p.Remote = append(p.Remote, m)
		} else {
			p.Local = append(p.Local, m)
		}
		if !m.Swap && !seenByDocker(m.Path) {
			p.Problems = append(p.Problems, fmt.Sprintf("mounts: %s: only the console has this directory; user Docker has those below %s",
				m.Path, strings.Join(shared, ", ")))
		}
	}
	return p
}

// shared are the directories whose mounts console, host and user Docker have
// in common.
var shared = append(layout.SharedDirs(), dockerRoot)

const dockerRoot = "/var/lib/docker"

func seenByDocker(dir string) bool {
	return slices.ContainsFunc(shared, func(s string) bool { return dir == s || strings.HasPrefix(dir, s+"/") })
}

// StateDir stands for the state partition among what grows.
const StateDir = "/"

// growing returns what is to grow. Without a word about it, the state
// partition does.
func growing(cfg osconfig.Config) []string {
	var list []string
	if cfg.GrowPart.Mode != "off" && cfg.ResizeRootFS != "false" {
		list = append(list, cfg.GrowPart.Devices...)
		if len(list) == 0 {
			list = []string{StateDir}
		}
	}
	if d := cfg.Rancher.ResizeDevice; d != "" {
		list = append(list, devicePath(string(d)))
	}
	for i, item := range list {
		if item == layout.StateDir || item == "/var/lib" {
			list[i] = StateDir
		}
	}
	return list
}

// lasting are the directories of the console that are on the state partition.
var lasting = append([]string{"/var/lib/rancher"}, layout.SharedDirs()...)

// swapFile returns the swap file. One that the state partition has no place
// for, such as cloud-init's /swap.img, lies in /var/lib/rancher.
func swapFile(s osconfig.Swap) *SwapFile {
	if s == (osconfig.Swap{}) || s.Size == "0" {
		return nil
	}
	file := cmp.Or(string(s.Filename), "/swap.img")
	if !slices.ContainsFunc(lasting, func(dir string) bool { return strings.HasPrefix(file, dir+"/") }) {
		file = path.Join(lasting[0], path.Base(file))
	}
	return &SwapFile{Path: file, Size: s.Size.Bytes(), Max: s.MaxSize.Bytes()}
}

// mounts returns the mounts. An entry without a path takes back earlier ones
// of its device, as with cloud-init.
func mounts(cfg osconfig.Config) []Mount {
	var list []Mount
	for _, entry := range cfg.Mounts {
		device := devicePath(entry.Device)
		if entry.Path == "" && !entry.IsSwap() {
			list = slices.DeleteFunc(list, func(m Mount) bool { return m.Device == device })
			continue
		}
		e := entry.Fill(cfg.MountDefaults)
		m := Mount{Device: device, Path: path.Clean("/" + e.Path), Type: e.Type, Options: string(e.Options), Swap: e.IsSwap()}
		if m.hasOption("noauto") {
			continue
		}
		if m.Type == "bind" || m.Type == "rbind" { // RancherOS
			m.Options += "," + m.Type
			m.Type = "none"
		}
		list = append(list, m)
	}
	return list
}

// devicePath adds /dev/ to the bare name of a device.
func devicePath(device string) string {
	if len(device) > 2 && !strings.ContainsAny(device, "/=:") {
		switch device {
		case "tmpfs", "none", "proc", "sysfs", "overlay", "debugfs", "tracefs":
			return device
		}
		return "/dev/" + device
	}
	return device
}

func (m Mount) hasOption(names ...string) bool {
	return slices.ContainsFunc(strings.Split(m.Options, ","), func(o string) bool { return slices.Contains(names, o) })
}

// remote reports whether a mount needs the network.
func (m Mount) remote() bool {
	switch m.Type {
	case "nfs", "nfs4", "cifs", "smb3":
		return true
	}
	return m.hasOption("_netdev")
}

// needs reports whether a mount lies on another one, or takes its content from
// there.
func (m Mount) needs(other Mount) bool {
	for _, p := range []string{m.Path, m.Device} {
		if !other.Swap && (p == other.Path || strings.HasPrefix(p, other.Path+"/")) {
			return true
		}
	}
	return false
}

// onDevice reports whether a mount needs a block device, and so waits for it.
func (m Mount) onDevice() bool {
	return !m.remote() && !m.hasOption("bind", "rbind", "loop") && (strings.HasPrefix(m.Device, "/dev/") || strings.Contains(m.Device, "="))
}

// argv is the command that mounts.
func (m Mount) argv() []string {
	if m.Swap {
		argv := []string{"/usr/sbin/swapon"}
		var options []string
		for o := range strings.SplitSeq(m.Options, ",") {
			if o == "discard" || strings.HasPrefix(o, "pri=") || strings.HasPrefix(o, "discard=") {
				options = append(options, o)
			}
		}
		if len(options) > 0 {
			argv = append(argv, "--options", strings.Join(options, ","))
		}
		return append(argv, m.Device)
	}
	argv := []string{"/usr/bin/mount"}
	if m.Type != "auto" {
		argv = append(argv, "-t", m.Type)
	}
	return append(argv, "-o", m.Options, "--", m.Device, m.Path)
}
