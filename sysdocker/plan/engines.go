package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/internal/layout"
)

// engineDevice is the variable that tells a further engine the machine's end of
// its cable.
const engineDevice = "USER_ENGINE_DEVICE"

// further reports whether the service is a further user engine.
func (w Want) further() bool { return w.Decl.Environment[engineDevice] != "" }

// MaxEngines is how many further engines there may be: each has a network of
// four addresses in engineNetwork.
const MaxEngines = 63

// engineNetwork is where further engines have their cables to the machine.
const engineNetwork = "10.209.0"

// The ends of a further engine's cable.
const (
	MachineEnd = 1
	EngineEnd  = 2
)

// EngineAddress is the address of one end of a further engine's cable, which
// has a network of 30 bits.
func EngineAddress(number, end int) string {
	return fmt.Sprintf("%s.%d", engineNetwork, 4*number+end)
}

// WithEngines adds the declarations and images of further user engines, which
// people have made: by service, their numbers. Each is a Docker in its
// container, with processes, network and data of its own.
func WithEngines(decls []images.Declaration, index images.Index, engines map[string]int) ([]images.Declaration, images.Index, error) {
	first := slices.IndexFunc(decls, func(d images.Declaration) bool { return d.Name == images.UserDocker })
	image := slices.IndexFunc(index.Images, func(e images.IndexEntry) bool { return e.Name == images.UserDocker })
	if len(engines) > 0 && (first < 0 || image < 0) {
		return decls, index, fmt.Errorf("further engines: there is no service %s to make them like", images.UserDocker)
	}
	decls, index.Images = slices.Clone(decls), slices.Clone(index.Images)
	for _, name := range slices.Sorted(maps.Keys(engines)) {
		entry := index.Images[image]
		entry.Name = name
		decls = append(decls, engineLike(decls[first], name, engines[name]))
		index.Images = append(index.Images, entry)
	}
	return decls, index, nil
}

// hostsOwn are the volumes of the first engine that belong to it alone: its
// data, its settings and what outlives its container.
var hostsOwn = []string{
	"/var/lib/docker", "/run/user-docker", "/run/containerd", "/run/docker", "/etc/docker", "/etc/docker/tls",
	// A container without the host's namespaces has its own. In the host's /sys it
	// would see the host's cgroups, too, and could not use its own.
	"/dev", "/dev/shm", "/dev/mqueue", "/tmp", "/sys",
}

// engineLike declares a further engine after the first one. Its containers live
// and end within its own, so that it needs nothing of the host but a network.
func engineLike(first images.Declaration, name string, number int) images.Declaration {
	s := first.Service
	s.NetworkMode, s.Pid, s.Ipc, s.Uts, s.Cgroup = "", "", "", "", ""
	s.Volumes = slices.DeleteFunc(slices.Clone(s.Volumes), func(v string) bool {
		_, target, _ := strings.Cut(v, ":")
		target, _, _ = strings.Cut(target, ":")
		return slices.Contains(hostsOwn, target)
	})
	root := layout.UserEngineRoot + name
	s.Volumes = append(s.Volumes,
		root+"/data:/var/lib/docker",
		root+"/etc:/etc/docker:ro",
		layout.UserEngineRun+name+":"+layout.UserRunDir,
		"/proc/1/ns/net:"+layout.HostNetwork,
		"/sys/kernel/security:/sys/kernel/security:ro", // by which dockerd sees AppArmor
	)
	s.Tmpfs = append(slices.Clone(s.Tmpfs), "/tmp") // the root is read-only
	s.Environment = make(map[string]string)
	maps.Copy(s.Environment, first.Service.Environment)
	s.Environment[engineDevice] = fmt.Sprintf("engine%d", number)
	s.Environment["USER_ENGINE_ADDRESS"] = EngineAddress(number, EngineEnd)
	s.Environment["USER_ENGINE_GATEWAY"] = EngineAddress(number, MachineEnd)
	s.After = []string{first.Name}
	// Nobody waits for it, nor is it what the boot report calls user Docker.
	s.Ready = nil
	s.Reason = map[string]string{"privileged": "a user engine that people have made: as " + first.Name + ", but in namespaces of its own"}
	return images.Declaration{Name: name, Image: first.Image, Service: s}
}
