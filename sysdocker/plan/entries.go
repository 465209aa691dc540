package plan

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

// Labels of RancherOS.
const (
	// labelScope "system" puts the service into the system tier.
	labelScope = "io.rancher.os.scope"
	// labelCreateOnly is for a container that only holds volumes.
	labelCreateOnly = "io.rancher.os.createonly"
	// labelAfter names services to start first, labelBefore those to start later.
	labelAfter  = "io.rancher.os.after"
	labelBefore = "io.rancher.os.before"
	// labelDetach "false": those after it start when it has ended.
	labelDetach = "io.rancher.os.detach"
	// labelReload: it changes the configuration, which is read again after it.
	labelReload = "io.rancher.os.reloadconfig"
)

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

// Configure translates the entries of rancher.services, in the order of their
// names. env is rancher.environment, which variables without a value are taken
// from; readFile reads files with variables. An entry that is wrong is left out,
// as are those that wait for it: the problem's Source is its name.
func Configure(services map[string]osconfig.Service, env map[string]string, readFile func(string) ([]byte, error)) ([]Want, []osconfig.Problem) {
	var problems []osconfig.Problem
	left := func(name string, err error) {
		p := osconfig.Problem{Text: err.Error()}
		errors.As(err, &p)
		p.Source, p.Key = name, strings.TrimSuffix("rancher.services."+name+"."+p.Key, ".")
		problems = append(problems, p)
	}
	byName := make(map[string]Want)
	for _, name := range slices.Sorted(maps.Keys(services)) {
		w, err := configure(name, services[name], env, readFile)
		if err != nil {
			left(name, err)
			continue
		}
		byName[name] = w
	}
	for name := range byName {
		for _, later := range listed(services[name].Labels[labelBefore]) {
			if o, ok := byName[later]; ok {
				o.After = append(slices.Clip(o.After), name)
				byName[later] = o
			}
		}
	}
	for name, w := range byName {
		// What is no entry is an OS service, or a container that somebody else has
		// made: nothing to wait for.
		w.After = slices.DeleteFunc(w.After, func(other string) bool {
			o, ok := services[other]
			return !ok || other == name || (o.Labels[labelScope] == "system") != w.System
		})
		slices.Sort(w.After)
		w.After = slices.Compact(w.After)
		byName[name] = w
	}
	can := startable(byName)
	var list []Want
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		w := byName[name]
		if !can[name] {
			w.After = slices.DeleteFunc(w.After, func(other string) bool { return can[other] })
			left(name, fmt.Errorf("waits for %s, which cannot start before it", strings.Join(w.After, ", ")))
			continue
		}
		// With the container whose namespace it shares, it is made again.
		for _, owner := range owners(services[name]) {
			if o, ok := byName[owner]; ok {
				w.Spec.Config.Labels[LabelSpec] += "-" + o.Spec.Config.Labels[LabelSpec]
			}
		}
		list = append(list, w)
	}
	slices.SortStableFunc(problems, func(a, b osconfig.Problem) int { return strings.Compare(a.Source, b.Source) })
	return list, problems
}

// startable returns the entries that can start, since all that they wait for
// exist and do not wait for them.
func startable(byName map[string]Want) map[string]bool {
	can := make(map[string]bool)
	for changed := true; changed; {
		changed = false
		for name, w := range byName {
			if !can[name] && !slices.ContainsFunc(w.After, func(other string) bool { return !can[other] }) {
				can[name], changed = true, true
			}
		}
	}
	return can
}

// wrong is what is wrong with a key of an entry.
func wrong(key, format string, args ...any) error {
	return osconfig.Problem{Key: key, Text: fmt.Sprintf(format, args...)}
}

// configure translates one entry.
func configure(name string, s osconfig.Service, env map[string]string, readFile func(string) ([]byte, error)) (Want, error) {
	w := Want{
		Name: name, Container: orElse(s.ContainerName, name), Care: Started,
		System: s.Labels[labelScope] == "system", Pull: s.PullPolicy, Build: s.Build, After: needs(s),
		Ends: s.Labels[labelDetach] == "false", Reloads: s.Labels[labelReload] == "true",
	}
	if s.Build.Context != "" {
		w.Pull = "never"
	}
	if text, has := s.Labels[osconfig.LabelSchedule]; has {
		schedule, err := osconfig.ParseSchedule(text)
		if err != nil {
			return w, wrong("labels."+osconfig.LabelSchedule, "%v", err)
		}
		w.Schedule = schedule
	}
	if s.Labels[labelCreateOnly] == "true" {
		w.Target, w.Why = Existing, "its label "+labelCreateOnly+" says so"
	}
	if w.Ends && s.Restart != "" && s.Restart != "no" && !strings.HasPrefix(string(s.Restart), "on-failure") {
		return w, wrong("labels."+labelDetach, "with restart %s it would never end", s.Restart)
	}
	if s.Image == "" {
		return w, wrong("", "image is missing")
	}
	exposed, published, err := ports(s.Ports)
	if err != nil {
		return w, wrong("ports", "%v", err)
	}
	config, err := configOf(s, exposed, env, readFile)
	if err != nil {
		return w, err
	}
	host, err := hostOf(s, published)
	if err != nil {
		return w, err
	}
	if err := w.holdVolumes(host); err != nil {
		return w, err
	}
	config.Labels = map[string]string{LabelConfigured: name, LabelContainer: w.Container}
	for key, value := range s.Labels {
		if _, ours := config.Labels[key]; !ours {
			config.Labels[key] = value
		}
	}
	networking, err := w.join(s, config, host)
	if err != nil {
		return w, err
	}
	w.Spec = dockerapi.Spec{Config: config, Host: host, Network: networking}
	config.Labels[LabelSpec], err = Hash(w.Spec)
	return w, err
}

// holdVolumes puts what RancherOS's volume holders had in their place.
func (w *Want) holdVolumes(host *container.HostConfig) error {
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
		case !w.System:
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

// needs are the entries whose containers a container refers to, or is to come
// after.
func needs(s osconfig.Service) []string {
	after := slices.Clone(s.DependsOn)
	for _, list := range [][]string{s.Links, s.ExternalLinks, s.VolumesFrom} {
		for _, item := range list {
			name, _, _ := strings.Cut(item, ":")
			after = append(after, name)
		}
	}
	after = append(after, owners(s)...)
	return append(after, listed(s.Labels[labelAfter])...)
}

// owners are the entries in whose containers' namespaces a container is.
func owners(s osconfig.Service) (names []string) {
	for _, mode := range []string{s.NetworkMode, s.Net, s.PID, s.IPC} {
		if name, ok := strings.CutPrefix(shared(mode), "container:"); ok {
			names = append(names, name)
		}
	}
	return names
}

// listed are the names in a label.
func listed(label string) []string {
	return strings.FieldsFunc(label, func(r rune) bool { return r == ',' || r == ' ' })
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
func (w *Want) join(s osconfig.Service, config *container.Config, host *container.HostConfig) (*network.NetworkingConfig, error) {
	mode := shared(orElse(s.NetworkMode, s.Net))
	links := slices.Concat(s.Links, s.ExternalLinks)
	if w.System {
		// The system tier has no bridge and so nothing to publish ports from.
		const remedy = "not in the system tier; use net: host, or leave out the label " + labelScope
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
		mode = orElse(mode, network.NetworkNone)
	}
	w.Networks = s.Networks
	first := mode
	if len(w.Networks) > 0 {
		if mode != "" {
			return nil, wrong("networks", "not together with network_mode")
		}
		first = w.Networks[0]
	}
	endpoints := make(map[string]*network.EndpointSettings)
	for _, name := range w.Networks {
		endpoints[name] = &network.EndpointSettings{Aliases: []string{w.Name}, Links: links}
	}
	if len(w.Networks) == 0 {
		host.Links = links // of the daemon's own bridge
	}
	if s.MacAddress != "" {
		var mac network.HardwareAddr
		if err := mac.UnmarshalText([]byte(s.MacAddress)); err != nil {
			return nil, wrong("mac_address", "%v", err)
		}
		first = orElse(first, network.NetworkBridge)
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
