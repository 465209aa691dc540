package spec

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-connections/nat"
	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/blkiodev"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

// Composed translates a service in Compose's notation, whose values osconfig has
// checked, into what the daemon takes
// (https://github.com/compose-spec/compose-spec/blob/main/05-services.md). In
// the system tier, with system, some keys have no meaning. env has the variables
// without a value, and readFile reads files with variables. The error is an
// osconfig.Problem, whose key is below the service's.
func Composed(name string, s osconfig.Service, system bool, labels, env map[string]string, readFile func(string) ([]byte, error)) (dockerapi.Spec, error) {
	exposed, published, err := ports(s.Ports)
	if err != nil {
		return dockerapi.Spec{}, wrong("ports", "%v", err)
	}
	config, err := configOf(s, exposed, env, readFile)
	if err != nil {
		return dockerapi.Spec{}, err
	}
	host, err := hostOf(s, published)
	if err != nil {
		return dockerapi.Spec{}, err
	}
	if err := holdVolumes(host, system); err != nil {
		return dockerapi.Spec{}, err
	}
	config.Labels = labels
	networking, err := join(name, s, system, config, host)
	return dockerapi.Spec{Config: config, Host: host, Network: networking}, err
}

// wrong is what is wrong with a key of an entry.
func wrong(key, format string, args ...any) error {
	return osconfig.Problem{Key: key, Text: fmt.Sprintf(format, args...)}
}

// configOf is what belongs to the container wherever it runs.
// exposed are the ports that it publishes, to which those of its own come.
func configOf(s osconfig.Service, exposed network.PortSet, env map[string]string, readFile func(string) ([]byte, error)) (*container.Config, error) {
	vars, err := configuredEnvironment(s, env, readFile)
	if err != nil {
		return nil, err
	}
	for _, text := range s.Expose {
		port, err := network.ParsePort(text)
		if err != nil {
			return nil, wrong("expose", "%v", err)
		}
		exposed[port] = struct{}{}
	}
	return &container.Config{
		Image: s.Image, Cmd: s.Command, Entrypoint: s.Entrypoint, Env: vars, ExposedPorts: exposed,
		Hostname: string(s.Hostname), Domainname: string(s.DomainName), User: s.User, WorkingDir: s.WorkingDir,
		Tty: s.TTY, OpenStdin: s.StdinOpen, StopSignal: s.StopSignal, StopTimeout: stopTimeout(time.Duration(s.StopGracePeriod)),
		Healthcheck: healthConfig(s.Healthcheck),
	}, nil
}

// hostOf is what ties the container to the machine.
func hostOf(s osconfig.Service, published network.PortMap) (*container.HostConfig, error) {
	policy, err := restartPolicy(string(s.Restart))
	if err != nil {
		return nil, wrong("restart", "%v", err)
	}
	resources, err := resourcesOf(s)
	if err != nil {
		return nil, err
	}
	servers := make([]netip.Addr, 0, len(s.DNS))
	for _, text := range s.DNS {
		server, err := netip.ParseAddr(text)
		if err != nil {
			return nil, wrong("dns", "%v", err)
		}
		servers = append(servers, server)
	}
	h := &container.HostConfig{
		Binds: s.Volumes, VolumesFrom: s.VolumesFrom, VolumeDriver: s.VolumeDriver,
		PortBindings: published, RestartPolicy: policy, Privileged: s.Privileged,
		CapAdd: s.CapAdd, CapDrop: s.CapDrop, SecurityOpt: s.SecurityOpt, GroupAdd: s.GroupAdd,
		DNS: servers, DNSOptions: s.DNSOpt, DNSSearch: s.DNSSearch, ExtraHosts: s.ExtraHosts,
		PidMode: container.PidMode(shared(s.PID)), IpcMode: container.IpcMode(shared(s.IPC)), UTSMode: container.UTSMode(s.UTS),
		UsernsMode: container.UsernsMode(s.UsernsMode), CgroupnsMode: container.CgroupnsMode(s.Cgroup),
		ReadonlyRootfs: s.ReadOnly, ShmSize: s.ShmSize.Bytes(), OomScoreAdj: int(s.OOMScoreAdj), Runtime: s.Runtime,
		Sysctls: s.Sysctls, StorageOpt: s.StorageOpt, Resources: resources,
		LogConfig: container.LogConfig{Type: cmp.Or(s.Logging.Driver, s.LogDriver), Config: s.Logging.Options},
	}
	if h.LogConfig.Config == nil {
		h.LogConfig.Config = s.LogOpt
	}
	if len(s.Tmpfs) > 0 {
		h.Tmpfs = tmpfs(s.Tmpfs)
	}
	if s.Init {
		h.Init = &s.Init
	}
	return h, nil
}

func resourcesOf(s osconfig.Service) (container.Resources, error) {
	devices, err := deviceMappings(s.Devices)
	if err != nil {
		return container.Resources{}, wrong("devices", "%v", err)
	}
	r := container.Resources{
		CgroupParent: s.CgroupParent, Devices: devices, DeviceCgroupRules: s.DeviceCgroupRules,
		Memory: s.MemLimit.Bytes(), MemoryReservation: s.MemReservation.Bytes(), MemorySwap: s.MemswapLimit.Bytes(),
		CPUShares: int64(s.CPUShares), CPUQuota: int64(s.CPUQuota), CPUPeriod: int64(s.CPUPeriod),
		CPURealtimePeriod: int64(s.CPURTPeriod), CPURealtimeRuntime: int64(s.CPURTRuntime), CpusetCpus: s.CPUSet,
	}
	if s.CPUs != "" {
		cpus, err := strconv.ParseFloat(string(s.CPUs), 64)
		if err != nil {
			return r, wrong("cpus", "%v", err)
		}
		r.NanoCPUs = int64(cpus * 1e9)
	}
	if s.PidsLimit != 0 {
		limit := int64(s.PidsLimit)
		r.PidsLimit = &limit
	}
	if s.MemSwappiness != 0 {
		swappiness := int64(s.MemSwappiness)
		r.MemorySwappiness = &swappiness
	}
	if s.OOMKillDisable {
		r.OomKillDisable = &s.OOMKillDisable
	}
	shareDisks(&r, s.BlkioConfig)
	for _, name := range slices.Sorted(maps.Keys(s.Ulimits)) {
		u := s.Ulimits[name]
		r.Ulimits = append(r.Ulimits, &units.Ulimit{Name: name, Soft: int64(u.Soft), Hard: int64(u.Hard)})
	}
	return r, nil
}

func shareDisks(r *container.Resources, b osconfig.BlockIO) {
	r.BlkioWeight = uint16(min(b.Weight, math.MaxUint16))
	for _, d := range b.WeightDevice {
		r.BlkioWeightDevice = append(r.BlkioWeightDevice,
			&blkiodev.WeightDevice{Path: string(d.Path), Weight: uint16(min(d.Weight, math.MaxUint16))})
	}
	inBytes := func(list []osconfig.DeviceBytes) (limits []*blkiodev.ThrottleDevice) {
		for _, d := range list {
			limits = append(limits, &blkiodev.ThrottleDevice{Path: string(d.Path), Rate: uint64(max(d.Rate.Bytes(), 0))})
		}
		return limits
	}
	inOperations := func(list []osconfig.DeviceOperations) (limits []*blkiodev.ThrottleDevice) {
		for _, d := range list {
			limits = append(limits, &blkiodev.ThrottleDevice{Path: string(d.Path), Rate: uint64(d.Rate)})
		}
		return limits
	}
	r.BlkioDeviceReadBps, r.BlkioDeviceWriteBps = inBytes(b.DeviceReadBPS), inBytes(b.DeviceWriteBPS)
	r.BlkioDeviceReadIOps, r.BlkioDeviceWriteIOps = inOperations(b.DeviceReadIOPS), inOperations(b.DeviceWriteIOPS)
}

func healthConfig(h osconfig.Healthcheck) *container.HealthConfig {
	if h.Disable {
		return &container.HealthConfig{Test: []string{"NONE"}}
	}
	c := container.HealthConfig{
		Test: h.Test, Interval: time.Duration(h.Interval), Timeout: time.Duration(h.Timeout), Retries: h.Retries,
		StartPeriod: time.Duration(h.StartPeriod), StartInterval: time.Duration(h.StartInterval),
	}
	if len(c.Test) == 0 && c.Interval+c.Timeout+c.StartPeriod+c.StartInterval == 0 && c.Retries == 0 {
		return nil // the image's own
	}
	return &c
}

// configuredEnvironment returns the variables: those of files, in their order,
// and then the service's own, which win.
func configuredEnvironment(s osconfig.Service, env map[string]string, readFile func(string) ([]byte, error)) ([]string, error) {
	vars := make(map[string]*string)
	for _, file := range s.EnvFile {
		text, err := readFile(file)
		if err != nil {
			return nil, wrong("env_file", "%v", err)
		}
		for in := bufio.NewScanner(bytes.NewReader(text)); in.Scan(); {
			line := strings.TrimSpace(in.Text())
			if line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			name, value, has := strings.Cut(line, "=")
			vars[name] = &value
			if !has {
				vars[name] = nil
			}
		}
	}
	maps.Copy(vars, s.Environment)
	// As in RancherOS, B* asks for all that begin with B.
	for k, v := range vars {
		prefix, wild := strings.CutSuffix(k, "*")
		if !wild || v != nil {
			continue
		}
		for name, value := range env {
			if _, own := vars[name]; !own && strings.HasPrefix(name, prefix) {
				vars[name] = &value
			}
		}
	}
	var list []string
	for _, k := range slices.Sorted(maps.Keys(vars)) {
		if v := vars[k]; v != nil {
			list = append(list, k+"="+*v)
		} else if v, ok := env[k]; ok {
			list = append(list, k+"="+v)
		}
	}
	return list, nil
}

// restartPolicy reads Compose's notation: "always", "on-failure:5".
func restartPolicy(s string) (container.RestartPolicy, error) {
	name, count, _ := strings.Cut(s, ":")
	p := container.RestartPolicy{Name: container.RestartPolicyMode(cmp.Or(name, "no"))}
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

// volumeHolders are RancherOS's containers that held what services of the
// system tier shared with the machine. volumes_from gets that from the machine
// itself here.
var volumeHolders = map[string][]string{
	"command-volumes": {
		"/bulkhead/ros/bin/ros:/usr/bin/ros:ro", "/bulkhead/engine/bin/system-docker:/usr/bin/system-docker:ro",
	},
	"system-volumes": {
		"/dev:/host/dev", "/etc/docker:/etc/docker", "/etc/ssl/certs:/etc/ssl/certs:ro", "/usr/lib/modules:/lib/modules:ro",
		"/run:/run:rslave", "/usr/share/ros/oem:/usr/share/ros/oem:ro", "/var/lib/rancher:/var/lib/rancher", "/var/log:/var/log",
	},
	"container-data-volumes": {"/var/lib/user-docker:/var/lib/docker:rslave"},
	"user-volumes":           {"/home:/home", "/opt:/opt"},
	"media-volumes":          {"/media:/media:rshared", "/mnt:/mnt:rshared"},
}

// holdVolumes puts what RancherOS's volume holders had in their place.
func holdVolumes(host *container.HostConfig, system bool) error {
	var others []string
	for _, from := range host.VolumesFrom {
		name, access, _ := strings.Cut(from, ":")
		binds := volumeHolders[name]
		if name == "all-volumes" {
			for _, holder := range slices.Sorted(maps.Keys(volumeHolders)) {
				binds = append(binds, volumeHolders[holder]...)
			}
		}
		switch {
		case binds == nil:
			others = append(others, from)
			continue
		case !system:
			return wrong("volumes_from", "%s is for the system tier; use volumes", name)
		}
		for _, bind := range binds {
			parts := strings.Split(bind, ":")
			if access == "ro" && len(parts) == 2 {
				bind += ":ro"
			}
			// What the service says itself counts.
			if !slices.ContainsFunc(host.Binds, func(b string) bool { return target(b) == parts[1] }) {
				host.Binds = append(slices.Clip(host.Binds), bind)
			}
		}
	}
	host.VolumesFrom = others
	return nil
}

// target is where a bind mount is in the container.
func target(bind string) string {
	parts := strings.Split(bind, ":")
	return parts[min(1, len(parts)-1)]
}

// Owners are the entries in whose containers' namespaces a container is.
func Owners(s osconfig.Service) (names []string) {
	for _, mode := range []string{s.NetworkMode, s.Net, s.PID, s.IPC} {
		if name, ok := strings.CutPrefix(shared(mode), "container:"); ok {
			names = append(names, name)
		}
	}
	return names
}

// shared turns Compose's notation for a namespace of another service into the
// daemon's.
func shared(mode string) string {
	if name, ok := strings.CutPrefix(mode, "service:"); ok {
		return "container:" + name
	}
	return mode
}

// join decides on a container's networks.
func join(name string, s osconfig.Service, system bool, config *container.Config, host *container.HostConfig) (*network.NetworkingConfig, error) {
	mode := shared(cmp.Or(s.NetworkMode, s.Net))
	links := slices.Concat(s.Links, s.ExternalLinks)
	if system {
		// The system tier has no bridge and so nothing to publish ports from.
		const remedy = "not in the system tier; use net: host, or leave out the label io.rancher.os.scope"
		switch {
		case len(host.PortBindings) > 0:
			return nil, wrong("ports", remedy)
		case len(s.Networks) > 0:
			return nil, wrong("networks", remedy)
		case len(links) > 0:
			return nil, wrong("links", remedy)
		case s.MacAddress != "":
			return nil, wrong("mac_address", remedy)
		}
		mode = cmp.Or(mode, network.NetworkNone)
	}
	first := mode
	if len(s.Networks) > 0 {
		if mode != "" {
			return nil, wrong("networks", "not together with network_mode")
		}
		first = s.Networks[0]
	}
	endpoints := make(map[string]*network.EndpointSettings)
	for _, n := range s.Networks {
		endpoints[n] = &network.EndpointSettings{Aliases: []string{name}, Links: links}
	}
	if len(s.Networks) == 0 {
		host.Links = links // of the daemon's own bridge
	}
	if s.MacAddress != "" {
		var mac network.HardwareAddr
		if err := mac.UnmarshalText([]byte(s.MacAddress)); err != nil {
			return nil, wrong("mac_address", "%v", err)
		}
		first = cmp.Or(first, network.NetworkBridge)
		if endpoints[first] == nil {
			endpoints[first] = &network.EndpointSettings{}
		}
		endpoints[first].MacAddress = mac
	}
	host.NetworkMode = container.NetworkMode(first)
	if host.NetworkMode.IsHost() || host.NetworkMode.IsContainer() {
		if config.Hostname != "" && host.NetworkMode.IsContainer() {
			return nil, wrong("hostname", "the container has that of the one whose network it shares")
		}
		if len(host.PortBindings) > 0 {
			return nil, wrong("ports", "not with network_mode %s", host.NetworkMode)
		}
	}
	if len(endpoints) == 0 {
		return &network.NetworkingConfig{}, nil
	}
	return &network.NetworkingConfig{EndpointsConfig: endpoints}, nil
}
