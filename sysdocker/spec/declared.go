package spec

import (
	"cmp"
	"errors"
	"strconv"

	"github.com/moby/moby/api/types/container"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

// Containers with the same value of this annotation share one
// containerd-shim-runc-v2.
const (
	shimGroup  = "io.containerd.runc.v2.group"
	sharedShim = "bulkhead"
)

// Declared translates the declaration of an OS service: what it has in common
// with Compose as such a service, and what only declarations have.
func Declared(d images.Declaration, image string, labels map[string]string) (dockerapi.Spec, error) {
	made, err := Composed(d.Name, inCompose(d, image), true, labels, nil, nil)
	if p, ok := errors.AsType[osconfig.Problem](err); ok {
		p.Source = d.Name + "/service.yml"
		err = p
	}
	if err != nil {
		return made, err
	}
	host := made.Host
	// The daemon makes no difference between null and empty. A hash does, and
	// existing containers have that of null.
	host.PortBindings, host.DNS = nil, nil
	if !d.Service.Privileged {
		// The others have CAP_SYS_RESOURCE. What mounts an overlay hands its groups to
		// all that write to it, but not that capability: an engine must not have this one.
		host.GroupAdd = []string{strconv.Itoa(layout.ReserveID)}
	}
	if d.Service.SharedShim {
		host.Annotations = map[string]string{shimGroup: sharedShim}
	}
	if d.Service.NetSysctls {
		host.ReadonlyPaths = readonlyButNet()
	}
	return made, nil
}

// inCompose is a declaration as a service in Compose's notation. What is not
// declared is forbidden: no capability, no new privileges, no network. Nothing is
// said about restarts, which the orchestrator owns.
func inCompose(d images.Declaration, image string) osconfig.Service {
	s := d.Service
	c := osconfig.Service{
		Image:             image,
		Command:           s.Command,
		Environment:       make(osconfig.Environment),
		NetworkMode:       s.NetworkMode,
		Cgroup:            cmp.Or(s.Cgroup, string(container.CgroupnsModePrivate)),
		IPC:               cmp.Or(s.Ipc, string(container.IPCModePrivate)),
		PID:               s.Pid,
		UTS:               s.Uts,
		Privileged:        s.Privileged,
		SecurityOpt:       s.SecurityOpt,
		ReadOnly:          s.ReadOnly,
		Volumes:           s.Volumes,
		Tmpfs:             s.Tmpfs,
		Devices:           s.Devices,
		DeviceCgroupRules: s.DeviceCgroupRules,
		CgroupParent:      s.CgroupParent,
		MemLimit:          osconfig.Size(s.MemLimit),
		PidsLimit:         osconfig.Signed(s.PidsLimit),
		OOMScoreAdj:       osconfig.Signed(s.OomScore()),
		StopSignal:        s.StopSignal,
		StopGracePeriod:   osconfig.Duration(s.StopGracePeriod),
		// The local driver's binary files, kept small since they may live in RAM.
		// Syslog has the long history.
		Logging: osconfig.Logging{Driver: "local", Options: osconfig.Labels{"max-size": "2m", "max-file": "2"}},
	}
	for name, value := range s.Environment {
		c.Environment[name] = &value
	}
	if s.Uts != "host" {
		c.Hostname = osconfig.Hostname(d.Name)
	}
	if !s.Privileged {
		// Docker's default seccomp profile applies as well.
		c.CapDrop, c.CapAdd = []string{"ALL"}, s.CapAdd
		c.SecurityOpt = append([]string{"no-new-privileges"}, s.SecurityOpt...)
	}
	if h := s.Healthcheck; h != nil {
		c.Healthcheck = osconfig.Healthcheck{
			Test: h.Test, Interval: osconfig.Duration(h.Interval), Timeout: osconfig.Duration(h.Timeout), Retries: h.Retries,
			StartPeriod: osconfig.Duration(h.StartPeriod), StartInterval: osconfig.Duration(h.StartInterval),
		}
	}
	return c
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
