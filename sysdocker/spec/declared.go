package spec

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
)

// Logs of one service: the local driver's binary files, kept small since they
// may live in RAM. Syslog has the long history.
var logConfig = container.LogConfig{
	Type:   "local",
	Config: map[string]string{"max-size": "2m", "max-file": "2"},
}

// Containers with the same value of this annotation share one
// containerd-shim-runc-v2.
const (
	shimGroup  = "io.containerd.runc.v2.group"
	sharedShim = "bulkhead"
)

// Declared translates the declaration of an OS service. What is not declared is
// forbidden: no capability, no new privileges, no network.
func Declared(d images.Declaration, image string, labels map[string]string) (dockerapi.Spec, error) {
	s := d.Service
	devices, err := deviceMappings(s.Devices)
	if err != nil {
		return dockerapi.Spec{}, fmt.Errorf("devices: %w", err)
	}
	memory := int64(0)
	if s.MemLimit != "" {
		if memory, err = units.RAMInBytes(s.MemLimit); err != nil {
			return dockerapi.Spec{}, fmt.Errorf("mem_limit: %w", err)
		}
	}

	cfg := &container.Config{
		Image:       image,
		Cmd:         s.Command,
		Env:         environment(s.Environment),
		Labels:      labels,
		Healthcheck: healthcheck(s.Healthcheck),
		StopSignal:  s.StopSignal,
		StopTimeout: stopTimeout(time.Duration(s.StopGracePeriod)),
	}
	if s.Uts != "host" {
		cfg.Hostname = d.Name
	}
	host := &container.HostConfig{
		Binds:       s.Volumes,
		LogConfig:   logConfig,
		NetworkMode: container.NetworkMode(cmp.Or(s.NetworkMode, network.NetworkNone)),
		// The orchestrator owns restarts.
		RestartPolicy:  container.RestartPolicy{Name: container.RestartPolicyDisabled},
		CgroupnsMode:   container.CgroupnsMode(cmp.Or(s.Cgroup, string(container.CgroupnsModePrivate))),
		IpcMode:        container.IpcMode(cmp.Or(s.Ipc, string(container.IPCModePrivate))),
		PidMode:        container.PidMode(s.Pid),
		UTSMode:        container.UTSMode(s.Uts),
		Privileged:     s.Privileged,
		SecurityOpt:    s.SecurityOpt,
		ReadonlyRootfs: s.ReadOnly,
		Tmpfs:          tmpfs(s.Tmpfs),
		OomScoreAdj:    s.OomScore(),
		Resources: container.Resources{
			Memory:            memory,
			CgroupParent:      s.CgroupParent,
			Devices:           devices,
			DeviceCgroupRules: s.DeviceCgroupRules,
		},
	}
	if s.SharedShim {
		host.Annotations = map[string]string{shimGroup: sharedShim}
	}
	if s.PidsLimit > 0 {
		host.PidsLimit = &s.PidsLimit
	}
	if s.NetSysctls {
		host.ReadonlyPaths = readonlyButNet()
	}
	if !s.Privileged {
		// Docker's default seccomp profile applies as well.
		host.CapDrop = []string{"ALL"}
		host.CapAdd = s.CapAdd
		host.SecurityOpt = append([]string{"no-new-privileges"}, s.SecurityOpt...)
	}

	return dockerapi.Spec{Config: cfg, Host: host, Network: &network.NetworkingConfig{}}, nil
}

// readonlyButNet is Docker's list of read-only paths, with the directories of
// /proc/sys instead of the whole, and without that of the network.
func readonlyButNet() []string {
	list := []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sysrq-trigger"}
	for _, dir := range []string{"abi", "crypto", "debug", "dev", "fs", "kernel", "sunrpc", "user", "vm"} {
		list = append(list, "/proc/sys/"+dir)
	}
	return list
}

func environment(env map[string]string) []string {
	var list []string
	for _, k := range slices.Sorted(maps.Keys(env)) {
		list = append(list, k+"="+env[k])
	}
	return list
}

func healthcheck(h *images.Healthcheck) *container.HealthConfig {
	if h == nil {
		return nil
	}
	return &container.HealthConfig{
		Test:          h.Test,
		Interval:      time.Duration(h.Interval),
		Timeout:       time.Duration(h.Timeout),
		Retries:       h.Retries,
		StartPeriod:   time.Duration(h.StartPeriod),
		StartInterval: time.Duration(h.StartInterval),
	}
}
