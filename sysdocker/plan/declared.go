package plan

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
)

// Services turns declarations into what their containers should be, in an order
// in which every service comes after those that it waits for; services of one
// level are sorted by name. Services that cannot run are left out, and the error
// names each of them and why.
func Services(decls []images.Declaration, index images.Index, bootID string) ([]Want, error) {
	levels, err := levels(decls)
	if err != nil {
		return nil, err
	}
	var services []Want
	var errs []error
	for _, d := range decls {
		i := slices.IndexFunc(index.Images, func(e images.IndexEntry) bool { return e.Name == d.Name })
		if i < 0 {
			errs = append(errs, fmt.Errorf("service %s: no image of this name in the index of shipped images", d.Name))
			continue
		}
		spec, err := newSpec(d, index.Images[i], bootID)
		if err != nil {
			errs = append(errs, fmt.Errorf("service %s: %w", d.Name, err))
			continue
		}
		services = append(services, Want{
			Name: d.Name, Container: d.Name, System: true, After: d.Service.After,
			Decl: d.Service, Image: index.Images[i], Spec: spec, Level: levels[d.Name],
		})
	}
	prioritise(services)
	slices.SortFunc(services, func(a, b Want) int {
		return cmp.Or(a.Level-b.Level, strings.Compare(a.Name, b.Name))
	})
	return services, errors.Join(errs...)
}

// levels returns for each service how many services have to be ready before
// it, one after the other.
func levels(decls []images.Declaration) (map[string]int, error) {
	after := make(map[string][]string)
	for _, d := range decls {
		after[d.Name] = d.Service.After
	}
	var errs []error
	for _, d := range decls {
		for _, dep := range d.Service.After {
			if _, ok := after[dep]; !ok {
				errs = append(errs, fmt.Errorf("service %s: waits for %s, which does not exist", d.Name, dep))
			}
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}

	level := make(map[string]int)
	// visit computes the level of name; path are the services that led to it.
	var visit func(name string, path []string) error
	visit = func(name string, path []string) error {
		if _, done := level[name]; done {
			return nil
		}
		if i := slices.Index(path, name); i >= 0 {
			return fmt.Errorf("services wait for each other: %s", strings.Join(append(path[i:], name), " → "))
		}
		highest := -1
		for _, dep := range after[name] {
			if err := visit(dep, append(path, name)); err != nil {
				return err
			}
			highest = max(highest, level[dep])
		}
		level[name] = highest + 1
		return nil
	}
	for _, d := range decls {
		if err := visit(d.Name, nil); err != nil {
			return nil, err
		}
	}
	return level, nil
}

// prioritise sets the services' priorities.
func prioritise(services []Want) {
	chain := make(map[string]int) // how many services wait for it, one after the other
	for range services {          // No chain is longer than that.
		for _, s := range services {
			for _, dep := range s.After {
				chain[dep] = max(chain[dep], chain[s.Name]+1)
			}
		}
	}
	for i, s := range services {
		services[i].Priority = chain[s.Name]
		if s.Engine() {
			services[i].Priority += len(services)
		}
	}
}

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

// newSpec translates a declaration. What is not declared is forbidden: no
// capability, no new privileges, no network.
func newSpec(d images.Declaration, image images.IndexEntry, bootID string) (dockerapi.Spec, error) {
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
		Image:       image.Ref,
		Cmd:         s.Command,
		Env:         environment(s.Environment),
		Labels:      map[string]string{LabelService: d.Name},
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
		NetworkMode: container.NetworkMode(orElse(s.NetworkMode, network.NetworkNone)),
		// The orchestrator owns restarts.
		RestartPolicy:  container.RestartPolicy{Name: container.RestartPolicyDisabled},
		CgroupnsMode:   container.CgroupnsMode(orElse(s.Cgroup, string(container.CgroupnsModePrivate))),
		IpcMode:        container.IpcMode(orElse(s.Ipc, string(container.IPCModePrivate))),
		PidMode:        container.PidMode(s.Pid),
		UTSMode:        container.UTSMode(s.Uts),
		Privileged:     s.Privileged,
		SecurityOpt:    s.SecurityOpt,
		ReadonlyRootfs: s.ReadOnly,
		Tmpfs:          tmpfs(s.Tmpfs),
		OomScoreAdj:    s.OomScoreAdj,
		Resources: container.Resources{
			Memory:            memory,
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

	spec := dockerapi.Spec{Config: cfg, Host: host, Network: &network.NetworkingConfig{}}
	hash, err := Hash(spec)
	if err != nil {
		return dockerapi.Spec{}, err
	}
	cfg.Labels[LabelSpec] = hash
	if s.Ephemeral || s.Restart == "no" {
		cfg.Labels[LabelBoot] = bootID
	}
	return spec, nil
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

// Hash returns a short hash of everything in spec.
func Hash(spec dockerapi.Spec) (string, error) {
	// Maps are written in the order of their keys, so equal specs are equal text.
	text, err := json.Marshal(spec)
	if err != nil {
		return "", fmt.Errorf("hash container specification: %w", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:12]), nil
}

func orElse(value, other string) string {
	if value == "" {
		return other
	}
	return value
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

// stopTimeout is in whole seconds; nil is Docker's default of 10.
func stopTimeout(grace time.Duration) *int {
	if grace == 0 {
		return nil
	}
	seconds := int((grace + time.Second - 1) / time.Second)
	return &seconds
}

func tmpfs(list []string) map[string]string {
	mounts := make(map[string]string)
	for _, t := range list {
		target, options, _ := strings.Cut(t, ":")
		mounts[target] = options
	}
	return mounts
}

func deviceMappings(list []string) ([]container.DeviceMapping, error) {
	var devices []container.DeviceMapping
	for _, d := range list {
		parts := strings.Split(d, ":")
		m := container.DeviceMapping{PathOnHost: parts[0], PathInContainer: parts[0], CgroupPermissions: "rwm"}
		switch len(parts) {
		case 3:
			m.CgroupPermissions = parts[2]
			fallthrough
		case 2:
			m.PathInContainer = parts[1]
		case 1:
		default:
			return nil, fmt.Errorf("%q; want path[:path[:rwm]]", d)
		}
		devices = append(devices, m)
	}
	return devices, nil
}
