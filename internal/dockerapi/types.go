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

// The states that matter here.
const (
	Created  = container.StateCreated
	Running  = container.StateRunning
	Paused   = container.StatePaused
	Exited   = container.StateExited
	Dead     = container.StateDead
	Removing = container.StateRemoving
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
}

// Info is what a daemon says about itself.
type Info struct {
	ID         string `json:"id"`
	Version    string `json:"version"`
	Containers int    `json:"containers"`
	Running    int    `json:"running"`
	Images     int    `json:"images"`
	DataRoot   string `json:"data_root"`
}
