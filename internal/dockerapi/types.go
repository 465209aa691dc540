package dockerapi

import (
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/registry"
)

// A Spec is everything that a container is created from.
type Spec struct {
	Config  *container.Config
	Host    *container.HostConfig
	Network *network.NetworkingConfig
}

// A Container is one line of `docker ps --all`.
type Container struct {
	ID, Name string
	Labels   map[string]string
	// ImageID is the digest of the image's manifest.
	ImageID string
	State   State
	// Health is "healthy", "unhealthy", "starting" or "none".
	Health string
	// Status is for people: "Exited (1) 3 seconds ago".
	Status  string
	Created time.Time
}

// State is a container's state.
type State = container.ContainerState

// RestartPolicy says when a daemon starts a container again by itself.
type RestartPolicy = container.RestartPolicy

// NoRestart is the policy of a container that is started by hand.
const NoRestart = container.RestartPolicyDisabled

// The states that matter here.
const (
	Created    = container.StateCreated
	Running    = container.StateRunning
	Paused     = container.StatePaused
	Restarting = container.StateRestarting
	Exited     = container.StateExited
	Dead       = container.StateDead
	Removing   = container.StateRemoving
)

// The values of Container.Health that matter here.
const (
	Healthy   = string(container.Healthy)
	Unhealthy = string(container.Unhealthy)
)

// A Login is what a registry wants to see.
type Login registry.AuthConfig

// An Image is what tells one image from another.
type Image struct {
	// ID is the digest of the manifest ("sha256:…").
	ID string
	// DiffIDs are the layers, lowest first ("sha256:…").
	DiffIDs []string
	Labels  map[string]string
}

// Rights are what a container may do on its machine.
type Rights struct {
	Privileged bool `json:"privileged"`
	// CapAdd are capabilities beyond Docker's own, or, with AllDropped, all
	// there are; without CAP_.
	CapAdd     []string `json:"cap_add"`
	AllDropped bool     `json:"all_dropped"`
	// SecurityOpt are the options as given, such as "no-new-privileges".
	SecurityOpt []string `json:"security_opt"`
	ReadOnly    bool     `json:"read_only"`
	// HostNamespaces are those shared with the machine, by their keys in Compose:
	// network_mode, pid, ipc, uts, cgroup.
	HostNamespaces []string `json:"host_namespaces"`
	// Devices are the machine's that it has, DeviceCgroupRules allow more of them.
	Devices           []string `json:"devices"`
	DeviceCgroupRules []string `json:"device_cgroup_rules"`
	// Mounts are bind mounts and volumes as in docker run -v.
	Mounts []string `json:"mounts"`
	// NetSysctls: /proc/sys/net is writable.
	NetSysctls bool `json:"net_sysctls"`
	// Memory is the limit in bytes; 0 for none.
	Memory      int64 `json:"memory"`
	OOMScoreAdj int   `json:"oom_score_adj"`
}

// Info is what a daemon says about itself.
type Info struct {
	ID         string `json:"id"`
	Version    string `json:"version"`
	Containers int    `json:"containers"`
	Running    int    `json:"running"`
	Paused     int    `json:"paused"`
	Images     int    `json:"images"`
	DataRoot   string `json:"data_root"`
}
