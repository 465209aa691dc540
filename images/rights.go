package images

import (
	"path"
	"slices"
	"strings"

	"github.com/bulkhead-os/bulkhead/internal/layout"
)

// Rights are what a container may do that Docker's defaults do not allow.
type Rights struct {
	Privileged bool
	// HostNamespaces are those that it shares with the machine, by their keys in
	// Compose: network_mode, pid, ipc, uts, cgroup.
	HostNamespaces []string
	// NetSysctls: /proc/sys/net is writable.
	NetSysctls bool
	// CapAdd, SecurityOpt, Devices, DeviceCgroupRules and Volumes are as in Service.
	CapAdd, SecurityOpt, Devices, DeviceCgroupRules, Volumes []string
}

// harmless are security options that give no right: the last is Docker's own for
// containers that share namespaces, and for SELinux, which is not there.
var harmless = []string{"no-new-privileges", "no-new-privileges:true", "no-new-privileges=true", "label=disable"}

// Privileges are the keys of Service.Reason for rights, sorted: "privileged",
// the namespace, "x-net-sysctls", the capability, option, rule, device, and of a
// bind mount that is writable, or leads to a socket of an engine, the source.
//
// Who is privileged has all capabilities and devices, can mount all disks, and is
// not confined: that takes one reason, and namespaces theirs.
func (r Rights) Privileges() []string {
	need := slices.Clone(r.HostNamespaces)
	if r.Privileged {
		need = append(need, "privileged")
	} else {
		need = slices.Concat(need, r.CapAdd, r.DeviceCgroupRules)
		for _, option := range r.SecurityOpt {
			if !slices.Contains(harmless, option) {
				need = append(need, option)
			}
		}
		for _, device := range r.Devices {
			source, _, _ := strings.Cut(device, ":")
			need = append(need, source)
		}
		for _, volume := range r.Volumes {
			if source, gives := givesRight(volume); gives {
				need = append(need, source)
			}
		}
		if r.NetSysctls {
			need = append(need, "x-net-sysctls")
		}
	}
	slices.Sort(need)
	return slices.Compact(need)
}

// givesRight reports whether a volume is more than files to read. A volume that
// Docker keeps is the container's own.
func givesRight(volume string) (source string, gives bool) {
	parts := strings.Split(volume, ":")
	if !path.IsAbs(parts[0]) {
		return "", false
	}
	source = path.Clean(parts[0])
	if len(parts) < 3 || !slices.Contains(strings.Split(parts[2], ","), "ro") {
		return source, true
	}
	// Who may read a socket's file may connect to it.
	sockets := []string{layout.SystemSocket, layout.SystemContainerdSocket, layout.ControlSocket, layout.UserSocket, layout.UserRunDir}
	return source, slices.ContainsFunc(sockets, func(socket string) bool {
		return socket == source || strings.HasPrefix(socket, strings.TrimSuffix(source, "/")+"/") || strings.HasPrefix(source, socket+"/")
	})
}

// namespaces are the values of the keys by which a service shares the machine's.
func (s Service) namespaces() map[string]string {
	return map[string]string{"network_mode": s.NetworkMode, "pid": s.Pid, "ipc": s.Ipc, "uts": s.Uts, "cgroup": s.Cgroup}
}

func (s Service) rights() Rights {
	r := Rights{
		Privileged: s.Privileged, NetSysctls: s.NetSysctls, CapAdd: s.CapAdd, SecurityOpt: s.SecurityOpt,
		Devices: s.Devices, DeviceCgroupRules: s.DeviceCgroupRules, Volumes: s.Volumes,
	}
	for key, value := range s.namespaces() {
		if value == "host" {
			r.HostNamespaces = append(r.HostNamespaces, key)
		}
	}
	return r
}
