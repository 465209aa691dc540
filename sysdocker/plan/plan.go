// Package plan turns the declarations of the OS services, the index of shipped
// images and the list of existing containers into an ordered list of actions
// with reasons. It is pure: it never talks to Docker and knows no clock.
package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
)

// Labels of service containers.
const (
	// LabelService names the service.
	LabelService = "io.bulkhead.service"
	// LabelSpec is the hash of everything the container was created from.
	LabelSpec = "io.bulkhead.spec"
	// LabelBoot is the boot in which a container that lives for one boot only
	// was created.
	LabelBoot = "io.bulkhead.boot"
)

// A Kind says what an action does.
type Kind string

// The kinds of actions, in the order in which a service needs them.
const (
	LoadImage       Kind = "load-image" // unless it is there
	StopContainer   Kind = "stop-container"
	RemoveContainer Kind = "remove-container"
	ReplaceImage    Kind = "replace-image"
	CreateContainer Kind = "create-container"
	StartContainer  Kind = "start-container"
	WaitReady       Kind = "wait-ready"
	WaitExit        Kind = "wait-exit"
)

// An Action is one thing to do.
type Action struct {
	Kind    Kind
	Service string
	// Container is the ID of an existing container; empty for the one that
	// the plan creates.
	Container string
	// Object is the network or the image, for MakeNetwork and PullImage.
	Object string
	Reason string
	// After are the services that must be ready before.
	After []string
}

// String is for people and golden files.
func (a Action) String() string {
	s := fmt.Sprintf("%s %s", a.Kind, a.Service)
	switch {
	case a.Container != "":
		s += fmt.Sprintf(" (%.12s)", a.Container)
	case a.Object != "":
		s += " (" + a.Object + ")"
	}
	if len(a.After) > 0 {
		s += " after " + strings.Join(a.After, ", ")
	}
	return s + ": " + a.Reason
}

// Options are what a plan depends on beside declarations and containers.
type Options struct {
	// Recreate is the reason to create the container anew even if it is as
	// declared; empty if there is none.
	Recreate string
	// ReplaceImage: the image that is there is not to be trusted. Only
	// together with Recreate.
	ReplaceImage bool
	// Restart is the reason to stop a running container and start it again;
	// empty if there is none.
	Restart string
}

// A Service is one service with everything that is known about it.
type Service struct {
	Name  string
	Decl  images.Service
	Image images.IndexEntry
	// Spec is what its container is created from, labels included.
	Spec dockerapi.Spec
	// Level is 0 for services that wait for none, else one more than the
	// highest level among those it waits for.
	Level int
	// Priority is higher for what is to be started earlier if not everything
	// can be started at once: Docker engines, which take longest, then the
	// services that the longest chains of others wait for.
	Priority int
}

// Once tells whether the service runs to its end once per boot.
func (s Service) Once() bool { return s.Decl.Restart == "no" }

// Engine tells whether the service is a Docker engine.
func (s Service) Engine() bool { return s.Decl.Ready != nil && s.Decl.Ready.Docker != "" }

// Services combines declarations and index, in an order in which every service
// comes after those that it waits for; services of one level are sorted by
// name. bootID tells this boot from all others. Services that cannot be run
// are left out, and the error names each of them and why.
func Services(decls []images.Declaration, index images.Index, bootID string) ([]Service, error) {
	levels, err := levels(decls)
	if err != nil {
		return nil, err
	}
	var services []Service
	var errs errorList
	for _, d := range decls {
		i := slices.IndexFunc(index.Images, func(e images.IndexEntry) bool { return e.Name == d.Name })
		if i < 0 {
			errs.add("service %s: no image of this name in the index of shipped images", d.Name)
			continue
		}
		spec, err := newSpec(d, index.Images[i], bootID)
		if err != nil {
			errs.add("service %s: %w", d.Name, err)
			continue
		}
		services = append(services, Service{
			Name: d.Name, Decl: d.Service, Image: index.Images[i], Spec: spec, Level: levels[d.Name],
		})
	}
	prioritise(services)
	slices.SortFunc(services, func(a, b Service) int {
		if a.Level != b.Level {
			return a.Level - b.Level
		}
		return strings.Compare(a.Name, b.Name)
	})
	return services, errs.join()
}

// StopOrder returns the services grouped by level, those that others wait for
// last. Services of one group can be stopped together. A Docker engine is in
// the first group whatever its level: people's containers need network, name
// service and logs while they stop.
func StopOrder(services []Service) [][]Service {
	var engines []Service
	var groups [][]Service
	for _, s := range services {
		if s.Engine() || s.further() {
			engines = append(engines, s)
			continue
		}
		for len(groups) <= s.Level {
			groups = append(groups, nil)
		}
		groups[s.Level] = append(groups[s.Level], s)
	}
	slices.Reverse(groups)
	if len(engines) > 0 {
		groups = slices.Insert(groups, 0, engines)
	}
	return groups
}

// Orphans returns the actions that remove the containers of services that
// exist no more.
func Orphans(decls []images.Declaration, existing []dockerapi.Container) []Action {
	var actions []Action
	for _, c := range existing {
		name, ours := c.Labels[LabelService]
		known := slices.ContainsFunc(decls, func(d images.Declaration) bool { return d.Name == name })
		if ours && !known {
			actions = append(actions, Action{
				Kind: RemoveContainer, Service: name, Container: c.ID, Reason: "no such service any more",
			})
		}
	}
	return actions
}

// Bring returns the actions that make one service run as declared, given the
// existing containers. The last one waits until the service is ready.
func Bring(s Service, existing []dockerapi.Container, opts Options) []Action {
	var actions []Action
	add := func(kind Kind, container, reason string, after ...string) {
		actions = append(actions, Action{Kind: kind, Service: s.Name, Container: container, Reason: reason, After: after})
	}

	var keep *dockerapi.Container
	create := "there is none yet"
	for _, c := range existing {
		if c.Name != s.Name && c.Labels[LabelService] != s.Name {
			continue
		}
		if reason := replaceReason(s, c, opts); reason != "" {
			if isUp(c) {
				add(StopContainer, c.ID, reason)
			}
			add(RemoveContainer, c.ID, reason)
			create = reason
			continue
		}
		keep = &c
	}

	if keep == nil {
		if opts.ReplaceImage {
			add(ReplaceImage, "", "containers of the image that is there do not start")
		} else {
			// What runs goes on until that is done, and if it cannot be.
			load := Action{Kind: LoadImage, Service: s.Name, Reason: "needed for a new container"}
			actions = slices.Insert(actions, 0, load)
		}
		add(CreateContainer, "", create)
		add(StartContainer, "", "new container", s.Decl.After...)
		return append(actions, wait(s, ""))
	}

	switch up := isUp(*keep); {
	case up && opts.Restart != "":
		add(StopContainer, keep.ID, opts.Restart)
		add(StartContainer, keep.ID, opts.Restart, s.Decl.After...)
	case up:
	case s.Once() && keep.State == dockerapi.Exited: // It had its run in this boot.
	default:
		add(StartContainer, keep.ID, fmt.Sprintf("is %s", keep.State), s.Decl.After...)
	}
	return append(actions, wait(s, keep.ID))
}

func isUp(c dockerapi.Container) bool {
	return c.State == dockerapi.Running || c.State == dockerapi.Paused
}

// replaceReason says why an existing container cannot be used, or nothing.
func replaceReason(s Service, c dockerapi.Container, opts Options) string {
	want := s.Spec.Config.Labels
	switch {
	case c.Labels[LabelService] != s.Name:
		return "has the service's name but is none of ours"
	case c.Name != s.Name:
		return "has the name " + c.Name
	case c.Labels[LabelSpec] != want[LabelSpec]:
		return "declaration has changed"
	case !s.Foreign() && c.ImageID != s.Image.Manifest:
		return "image has changed"
	case c.Labels[LabelBoot] != want[LabelBoot]:
		return "lives for one boot only"
	case c.State == dockerapi.Dead || c.State == dockerapi.Removing:
		return fmt.Sprintf("is %s", c.State)
	}
	return opts.Recreate
}

// wait returns the last action of every service.
func wait(s Service, container string) Action {
	a := Action{Kind: WaitReady, Service: s.Name, Container: container, Reason: "ready once started"}
	switch r := s.Decl.Ready; {
	case s.Once():
		a.Kind, a.Reason = WaitExit, "runs once per boot"
	case r == nil:
	case r.Docker != "":
		a.Reason = "Docker API on " + r.Docker
	case r.Socket != "":
		a.Reason = "socket " + r.Socket
	default:
		a.Reason = "file " + r.File
	}
	return a
}
