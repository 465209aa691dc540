package userdocker

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// onDisk is what the rules have to know about the engine and its data root.
type onDisk struct {
	// subordinates: the engine has subordinate users for user namespaces.
	subordinates bool
	// drivers are Docker's older storage drivers that have images.
	drivers []string
	// snapshots: containerd's storage has images or containers.
	snapshots bool
}

// readOnDisk looks for a data root's stores.
func readOnDisk(dataRoot string) onDisk {
	has := onDisk{subordinates: exists("/etc/subuid") && exists("/etc/subgid")}
	old, _ := filepath.Glob(dataRoot + "/image/*/repositories.json") // the pattern is good
	for _, file := range old {
		has.drivers = append(has.drivers, filepath.Base(filepath.Dir(file)))
	}
	layers, _ := os.ReadDir(filepath.Dir(snapshotDatabase(dataRoot)) + "/snapshots")
	has.snapshots = len(layers) > 0
	return has
}

// A rule returns what is left of a setting's value, or nil, and why the rest cannot
// take effect, with what to do instead. An empty reason: the value can stay.
type rule func(value any, has onDisk) (instead any, why string)

// unfit are the rules by the key of daemon.json: settings that guides of the last
// ten years recommend, and that this machine or engine does not support. With any
// of them the daemon or its containers would not start, or images would disappear
// from view.
var unfit = map[string]rule{
	"data-root":    func(v any, _ onDisk) (any, string) { return nil, text(checkDataRoot(v)) },
	"graph":        func(any, onDisk) (any, string) { return nil, "it is called data-root" },
	"userns-remap": checkRemap,

	"storage-driver": checkDriver,
	"storage-opts":   withoutItems("an option of a storage driver that this engine does not have", "dm.", "devicemapper.", "zfs.", "btrfs.", "windowsfilter.", "overlay.", "overlay2.override_kernel_check"),
	"features":       checkFeatures,
	"exec-opts":      withoutItems("there is no systemd: the engine uses cgroupfs", "native.cgroupdriver=systemd"),
	"log-driver":     checkLogDriver,
	"hosts":          func(v any, _ onDisk) (any, string) { _, err := hosts(v); return nil, text(err) },

	"cluster-store":                    never("swarm mode has a store of its own (docs/user-docker.md)"),
	"cluster-store-opts":               never("swarm mode has a store of its own (docs/user-docker.md)"),
	"cluster-advertise":                never("swarm mode has a store of its own (docs/user-docker.md)"),
	"disable-legacy-registry":          never("registries of version 1 no longer exist"),
	"api-cors-header":                  never("Docker has dropped it: put a proxy before the API"),
	"api-enable-cors":                  never("Docker has dropped it: put a proxy before the API"),
	"deprecated-key-path":              never("Docker has dropped it"),
	"oom-score-adjust":                 never("it is the OS's (docs/user-docker.md)"),
	"allow-nondistributable-artifacts": never("Docker has dropped it"),
}

func never(why string) rule { return func(any, onDisk) (any, string) { return nil, why } }

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// withoutItems removes the items of a list that begin with one of the prefixes.
func withoutItems(why string, prefixes ...string) rule {
	return func(v any, _ onDisk) (any, string) {
		list, ok := v.([]any)
		if !ok {
			return v, ""
		}
		rest := slices.DeleteFunc(slices.Clone(list), func(item any) bool {
			s, _ := item.(string)
			return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(s, p) })
		})
		if len(rest) == len(list) {
			return v, ""
		}
		if len(rest) == 0 {
			return nil, why
		}
		return rest, why
	}
}

func checkRemap(v any, has onDisk) (any, string) {
	if v == "" || has.subordinates {
		return v, ""
	}
	return nil, "the engine has no subordinate users; docker run --user, or a rootless image, keeps root away from a container"
}

// containerdDrivers are the snapshotters in which containerd keeps images.
var containerdDrivers = []string{"overlayfs", "native"}

func checkDriver(v any, has onDisk) (any, string) {
	driver, _ := v.(string)
	switch {
	case slices.Contains(containerdDrivers, driver), slices.Contains(has.drivers, driver):
		return v, ""
	case driver == "overlay2" || driver == "vfs":
		if !has.snapshots {
			return v, "" // nothing to lose sight of
		}
		return nil, driver + " would hide the existing images and containers: containerd keeps them, in overlayfs"
	}
	return nil, fmt.Sprintf("the engine has no %v; it keeps images in overlayfs", v)
}

func checkFeatures(v any, has onDisk) (any, string) {
	features, ok := v.(map[string]any)
	if !ok || features["containerd-snapshotter"] != false || !has.snapshots || len(has.drivers) > 0 {
		return v, ""
	}
	rest := maps.Clone(features)
	delete(rest, "containerd-snapshotter")
	return rest, "containerd-snapshotter: false would hide the existing images and containers"
}

func checkLogDriver(v any, _ onDisk) (any, string) {
	if v == "journald" {
		return nil, "there is no journal; syslog writes to /var/log/messages, json-file and local keep logs for docker logs"
	}
	return v, ""
}

// fit removes settings that cannot take effect and returns why, one line for each.
// from says where they come from.
func fit(from string, values map[string]any, has onDisk) (rest map[string]any, problems []string) {
	rest = maps.Clone(values)
	for _, key := range slices.Sorted(maps.Keys(values)) {
		check, ok := unfit[key]
		if !ok {
			continue
		}
		instead, why := check(values[key], has)
		if why == "" {
			continue
		}
		problems = append(problems, fmt.Sprintf("%s: %s: left out: %s", from, key, strings.TrimPrefix(why, key+": ")))
		delete(rest, key)
		if instead != nil {
			rest[key] = instead
		}
	}
	return rest, problems
}
