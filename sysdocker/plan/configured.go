package plan

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/robfig/cron/v3"

	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

// LabelConfigured names the entry of rancher.services that a container is for,
// and LabelContainer the container, which an image made from it is not.
const (
	LabelConfigured = "io.bulkhead.configured"
	LabelContainer  = "io.bulkhead.container"
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

// A Configured is a container from rancher.services.
type Configured struct {
	// Name is that of the entry, Container that of the container.
	Name, Container string
	// System: it runs in the system tier, else in user Docker.
	System bool
	// Target is what is to become of its container, and Why the reason if that
	// is not to run.
	Target Target
	Why    string
	// After are entries whose containers have to be there before.
	After []string
	// Ends: those after it wait until it has ended.
	Ends bool
	// Reloads: the configuration is read again after it.
	Reloads bool
	// Networks are those that it joins, beside the daemon's own.
	Networks []string
	// Schedule has the times to start it at, if it does not run; nil without any.
	Schedule cron.Schedule
	// Pull says when to get the image: "always" when a container is made,
	// "never", or else if it is not there.
	Pull string
	// Build is how people have the image made: it is not to be had otherwise.
	Build osconfig.Build
	Spec  dockerapi.Spec
}

// Configure translates the entries of rancher.services, in the order of their
// names. env is rancher.environment, which variables without a value are taken
// from; readFile reads files with variables. An entry that is wrong is left
// out, as are those that wait for it, and is among the mistakes.
func Configure(services map[string]osconfig.Service, env map[string]string, readFile func(string) ([]byte, error)) ([]Configured, Mistakes) {
	byName := make(map[string]Configured)
	mistakes := make(Mistakes)
	for _, name := range slices.Sorted(maps.Keys(services)) {
		c, err := configure(name, services[name], env, readFile)
		if err != nil {
			mistakes[name] = err
			continue
		}
		byName[name] = c
	}
	for name := range byName {
		for _, later := range listed(services[name].Labels[labelBefore]) {
			if o, ok := byName[later]; ok {
				o.After = append(slices.Clip(o.After), name)
				byName[later] = o
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		c := byName[name]
		// What is no service is one of the OS, or a container that somebody else
		// has made: nothing to wait for.
		c.After = slices.DeleteFunc(c.After, func(other string) bool {
			o, ok := services[other]
			return !ok || other == name || (o.Labels[labelScope] == "system") != c.System
		})
		slices.Sort(c.After)
		c.After = slices.Compact(c.After)
		byName[name] = c
	}
	for _, name := range stuck(byName, mistakes) {
		delete(byName, name)
	}
	var list []Configured
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		c := byName[name]
		// With the container whose namespace it is in, it has to be made anew.
		for _, owner := range owners(services[name]) {
			if o, ok := byName[owner]; ok {
				c.Spec.Config.Labels[LabelSpec] += "-" + o.Spec.Config.Labels[LabelSpec]
			}
		}
		list = append(list, c)
	}
	return list, mistakes
}

// Selected is Configure for all services that a configuration knows of. Those
// that are switched off are to rest, whatever is wrong with them.
func Selected(s osconfig.Selection, env map[string]string, readFile func(string) ([]byte, error)) ([]Configured, Mistakes) {
	list, mistakes := Configure(s.Services, env, readFile)
	maps.DeleteFunc(mistakes, func(name string, _ error) bool { return s.Off[name] })
	for i, c := range list {
		if s.Off[c.Name] {
			list[i].Target, list[i].Why = ToRest, "rancher.services_include switches it off"
		}
	}
	return list, mistakes
}

// stuck returns the entries that can never start, since one that they wait for
// is not there or waits for them.
func stuck(byName map[string]Configured, mistakes Mistakes) (never []string) {
	can := make(map[string]bool)
	for changed := true; changed; {
		changed = false
		for name, c := range byName {
			if !can[name] && !slices.ContainsFunc(c.After, func(a string) bool { return !can[a] }) {
				can[name], changed = true, true
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		if can[name] {
			continue
		}
		never = append(never, name)
		waits := slices.DeleteFunc(slices.Clone(byName[name].After), func(a string) bool { return can[a] })
		mistakes[name] = fmt.Errorf(": waits for %s, which cannot start before it", strings.Join(waits, ", "))
	}
	return never
}

// configure translates one entry. Its errors begin with the key below it.
func configure(name string, s osconfig.Service, env map[string]string, readFile func(string) ([]byte, error)) (Configured, error) {
	c := Configured{
		Name: name, Container: orElse(s.ContainerName, name),
		System: s.Labels[labelScope] == "system", Pull: s.PullPolicy, Build: s.Build,
	}
	if s.Build.Context != "" {
		c.Pull = "never"
	}
	if text, has := s.Labels[osconfig.LabelSchedule]; has {
		schedule, err := osconfig.ParseSchedule(text)
		if err != nil {
			return c, fmt.Errorf(".labels.%s: %w", osconfig.LabelSchedule, err)
		}
		c.Schedule = schedule
	}
	if s.Labels[labelCreateOnly] == "true" {
		c.Target, c.Why = ToExist, "its label "+labelCreateOnly+" says so"
	}
	c.Ends, c.Reloads = s.Labels[labelDetach] == "false", s.Labels[labelReload] == "true"
	if c.Ends && s.Restart != "" && s.Restart != "no" && !strings.HasPrefix(string(s.Restart), "on-failure") {
		return c, fmt.Errorf(".labels.%s: with restart %s it would never end", labelDetach, s.Restart)
	}
	if s.Image == "" {
		return c, errors.New(": image is missing")
	}
	exposed, published, err := ports(s.Ports)
	if err != nil {
		return c, fmt.Errorf(".ports: %w", err)
	}
	config, err := configOf(s, exposed, env, readFile)
	if err != nil {
		return c, err
	}
	host, err := hostOf(s, published)
	if err != nil {
		return c, err
	}
	if err := c.holdVolumes(host); err != nil {
		return c, err
	}
	config.Labels = maps.Clone(map[string]string(s.Labels))
	if config.Labels == nil {
		config.Labels = make(map[string]string)
	}
	config.Labels[LabelConfigured], config.Labels[LabelContainer] = name, c.Container
	networking, err := c.join(s, config, host)
	if err != nil {
		return c, err
	}
	c.After = needs(s)
	c.Spec = dockerapi.Spec{Config: config, Host: host, Network: networking}
	hash, err := Hash(c.Spec)
	config.Labels[LabelSpec] = hash
	return c, err
}

// holdVolumes puts what RancherOS's volume holders had in their place.
func (c *Configured) holdVolumes(host *container.HostConfig) error {
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
		case !c.System:
			return fmt.Errorf(".volumes_from: %s is for the system tier; use volumes", name)
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
func (c *Configured) join(s osconfig.Service, config *container.Config, host *container.HostConfig) (*network.NetworkingConfig, error) {
	mode := shared(orElse(s.NetworkMode, s.Net))
	links := slices.Concat(s.Links, s.ExternalLinks)
	if c.System {
		// The system tier has no bridge and so nothing to publish ports from.
		const remedy = " not in the system tier; use net: host, or leave out the label " + labelScope
		switch {
		case len(host.PortBindings) > 0:
			return nil, errors.New(".ports:" + remedy)
		case len(s.Networks) > 0:
			return nil, errors.New(".networks:" + remedy)
		case len(links) > 0:
			return nil, errors.New(".links:" + remedy)
		case s.MacAddress != "":
			return nil, errors.New(".mac_address:" + remedy)
		}
		mode = orElse(mode, network.NetworkNone)
	}
	c.Networks = s.Networks
	first := mode
	if len(c.Networks) > 0 {
		if mode != "" {
			return nil, errors.New(".networks: not together with network_mode")
		}
		first = c.Networks[0]
	}
	endpoints := make(map[string]*network.EndpointSettings)
	for _, name := range c.Networks {
		endpoints[name] = &network.EndpointSettings{Aliases: []string{c.Name}, Links: links}
	}
	if len(c.Networks) == 0 {
		host.Links = links // of the daemon's own bridge
	}
	if s.MacAddress != "" {
		var mac network.HardwareAddr
		if err := mac.UnmarshalText([]byte(s.MacAddress)); err != nil {
			return nil, fmt.Errorf(".mac_address: %w", err)
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
			return nil, errors.New(".hostname: the container has that of the one whose network it shares")
		}
		if len(host.PortBindings) > 0 {
			return nil, errors.New(".ports: not with network_mode " + string(host.NetworkMode))
		}
	}
	if len(endpoints) == 0 {
		return &network.NetworkingConfig{}, nil
	}
	return &network.NetworkingConfig{EndpointsConfig: endpoints}, nil
}

// Unwanted returns the containers that were made for entries of
// rancher.services which are not there any more; containers has the names of
// those that are. An image made from such a container has its labels, a
// container of it another name.
func Unwanted[V any](have []dockerapi.Container, containers map[string]V) []dockerapi.Container {
	var list []dockerapi.Container
	for _, c := range have {
		// Earlier versions had no label for the container's name.
		made := orElse(c.Labels[LabelContainer], c.Labels[LabelConfigured])
		if _, wanted := containers[c.Name]; !wanted && c.Name != "" && made == c.Name {
			list = append(list, c)
		}
	}
	return list
}
