package plan

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/go-connections/nat"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

// LabelConfigured names the entry of rancher.services that a container is for.
const LabelConfigured = "io.bulkhead.configured"

// labelScope is RancherOS's: "system" puts the service into the system tier.
const labelScope = "io.rancher.os.scope"

// labelCreateOnly is RancherOS's for a container that only holds volumes.
const labelCreateOnly = "io.rancher.os.createonly"

// A Configured is a container from rancher.services.
type Configured struct {
	Name string
	// System: it runs in the system tier, else in user Docker.
	System bool
	// CreateOnly: it holds volumes for others and never runs.
	CreateOnly bool
	Spec       dockerapi.Spec
}

// Configure translates one entry of rancher.services. env is
// rancher.environment, which its variables without a value are taken from.
func Configure(name string, s osconfig.Service, env map[string]string) (Configured, error) {
	c := Configured{Name: name, System: s.Labels[labelScope] == "system", CreateOnly: s.Labels[labelCreateOnly] == "true"}
	if s.Image == "" {
		return c, fmt.Errorf("rancher.services.%s: image is missing", name)
	}
	policy, err := restartPolicy(string(s.Restart))
	if err != nil {
		return c, fmt.Errorf("rancher.services.%s.restart: %w", name, err)
	}
	exposed, bindings, err := ports(s.Ports)
	if err != nil {
		return c, fmt.Errorf("rancher.services.%s.ports: %w", name, err)
	}
	mode := orElse(s.NetworkMode, s.Net)
	if c.System {
		// The system tier has no bridge and so nothing to publish ports from.
		if len(bindings) > 0 {
			return c, fmt.Errorf("rancher.services.%s.ports: not in the system tier; use net: host, or leave out the label %s", name, labelScope)
		}
		mode = orElse(mode, network.NetworkNone)
	}
	labels := maps.Clone(map[string]string(s.Labels))
	if labels == nil {
		labels = make(map[string]string)
	}
	labels[LabelConfigured] = name
	c.Spec = dockerapi.Spec{
		Config: &container.Config{
			Image: s.Image, Cmd: s.Command, Env: configuredEnvironment(s.Environment, env), Labels: labels, ExposedPorts: exposed,
		},
		Host: &container.HostConfig{
			Binds: s.Volumes, PortBindings: bindings, RestartPolicy: policy,
			Privileged: s.Privileged, NetworkMode: container.NetworkMode(mode),
		},
		Network: &network.NetworkingConfig{},
	}
	hash, err := Hash(c.Spec)
	labels[LabelSpec] = hash
	return c, err
}

func configuredEnvironment(vars osconfig.Environment, env map[string]string) []string {
	var list []string
	for _, k := range slices.Sorted(maps.Keys(vars)) {
		if v := vars[k]; v != nil {
			list = append(list, k+"="+*v)
		} else if v, ok := env[k]; ok {
			list = append(list, k+"="+v)
		}
	}
	return list
}

// restartPolicy reads Compose's notation: "always", "on-failure:5".
func restartPolicy(s string) (container.RestartPolicy, error) {
	name, count, _ := strings.Cut(s, ":")
	p := container.RestartPolicy{Name: container.RestartPolicyMode(orElse(name, "no"))}
	if count != "" {
		n, err := strconv.Atoi(count)
		if err != nil {
			return p, fmt.Errorf("%q: want a number behind the colon", s)
		}
		p.MaximumRetryCount = n
	}
	return p, container.ValidateRestartPolicy(p)
}

// ports reads `docker run --publish`'s notation.
func ports(specs []string) (network.PortSet, network.PortMap, error) {
	_, parsed, err := nat.ParsePortSpecs(specs)
	if err != nil {
		return nil, nil, err
	}
	exposed, bindings := make(network.PortSet), make(network.PortMap)
	for p, list := range parsed {
		port, err := network.ParsePort(string(p))
		if err != nil {
			return nil, nil, err
		}
		exposed[port] = struct{}{}
		for _, b := range list {
			binding := network.PortBinding{HostPort: b.HostPort}
			if b.HostIP != "" {
				if binding.HostIP, err = netip.ParseAddr(b.HostIP); err != nil {
					return nil, nil, err
				}
			}
			bindings[port] = append(bindings[port], binding)
		}
	}
	return exposed, bindings, nil
}
