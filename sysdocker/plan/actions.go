package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

// A Kind says what an action does.
type Kind string

// The kinds of actions, in the order in which a service needs them.
const (
	LoadImage       Kind = "load-image"   // unless it is there
	MakeNetwork     Kind = "make-network" // unless it is there
	PullImage       Kind = "pull-image"   // unless it is there, or always: see Want.Pull
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

// Actions returns what leads from the containers of its daemon to a wanted one.
// For a kept service the last action waits until it is ready. What can fail
// because an image or a network is missing comes first, so that the previous
// container runs until then. The error is that the container's name is taken.
func Actions(w Want, have []dockerapi.Container) ([]Action, error) {
	var actions []Action
	add := func(kind Kind, container, reason string) {
		actions = append(actions, Action{Kind: kind, Service: w.Name, Container: container, Reason: reason})
	}
	start := func(container, reason string) {
		actions = append(actions, Action{Kind: StartContainer, Service: w.Name, Container: container, Reason: reason, After: w.After})
	}
	var keep *dockerapi.Container
	create := "there is none yet"
	for _, c := range have {
		ours := w.ours(c)
		if c.Name != w.Container && (w.Care != Kept || !ours) {
			continue
		}
		unfit := w.unfit(c)
		switch {
		case !w.Target.HasContainer():
			if ours && w.Target == Gone {
				add(RemoveContainer, c.ID, w.Why)
			} else if ours && IsActive(c) {
				add(StopContainer, c.ID, w.Why)
			}
		case !ours && w.Care != Kept:
			return nil, fmt.Errorf("container %s exists and is not from the configuration: remove or rename it", w.Container)
		case unfit != "":
			if w.Care == Kept && isUp(c) {
				add(StopContainer, c.ID, unfit)
			}
			add(RemoveContainer, c.ID, unfit)
			create = unfit
		default:
			keep = &c
		}
	}
	container := ""
	switch {
	case !w.Target.HasContainer():
		return actions, nil
	case keep == nil:
		if w.ReplaceImage {
			add(ReplaceImage, "", "containers of the image that is there do not start")
		} else {
			actions = append(w.provide(), actions...)
		}
		add(CreateContainer, "", create)
		if w.Target == Running {
			start("", "new container")
		}
	default:
		container = keep.ID
		switch active := IsActive(*keep); {
		case active && w.Restart != "":
			add(StopContainer, container, w.Restart)
			start(container, w.Restart)
		case active, w.Target == Existing:
		case w.Once() && keep.State == dockerapi.Exited: // It had its run in this boot.
		default:
			start(container, fmt.Sprintf("is %s", keep.State))
		}
	}
	if w.Care == Kept {
		actions = append(actions, w.wait(container))
	}
	return actions, nil
}

// ours reports whether a container was made for what is wanted. A label alone
// makes none: people set labels, too, and an image made from a service's container
// has all of them.
func (w Want) ours(c dockerapi.Container) bool {
	switch {
	case c.Labels[w.label()] != w.Name:
		return false
	case c.Name == w.Container || w.Care != Kept:
		return true
	}
	// Somebody may have renamed it.
	return c.Labels[LabelSpec] == w.Spec.Config.Labels[LabelSpec] && w.Shipped() && c.ImageID == w.Image.Manifest
}

// ServiceOf returns the OS service that a container of System Docker belongs to,
// or "". Such a container has the name of its service: people set the label, too.
func ServiceOf(c dockerapi.Container) string {
	if c.Labels[LabelService] != c.Name {
		return ""
	}
	return c.Name
}

func isUp(c dockerapi.Container) bool {
	return c.State == dockerapi.Running || c.State == dockerapi.Paused
}

// IsActive reports whether a container runs, or will again by itself.
func IsActive(c dockerapi.Container) bool { return isUp(c) || c.State == dockerapi.Restarting }

// provide returns what a new container needs first.
func (w Want) provide() []Action {
	if w.Care == Kept {
		return []Action{{Kind: LoadImage, Service: w.Name, Reason: "needed for a new container"}}
	}
	var actions []Action
	for _, name := range w.Networks {
		actions = append(actions, Action{Kind: MakeNetwork, Service: w.Name, Object: name, Reason: "it joins it, unless it is there"})
	}
	pull := Action{Kind: PullImage, Service: w.Name, Object: w.Spec.Config.Image, Reason: "needed for a new container, unless it is there"}
	switch w.Pull {
	case "never":
		return actions
	case "always":
		pull.Reason = "pull_policy is always"
	}
	return append(actions, pull)
}

// unfit says why an existing container cannot be used, or nothing.
func (w Want) unfit(c dockerapi.Container) string {
	want := w.Spec.Config.Labels
	changed := c.Labels[LabelSpec] != want[LabelSpec]
	switch {
	case w.Care != Kept && changed:
		return "its entry has changed"
	case w.Care != Kept:
		return ""
	case c.Labels[LabelService] != w.Name:
		return "has the service's name but is none of ours"
	case c.Name != w.Container:
		return "has the name " + c.Name
	case changed:
		return "declaration has changed"
	case w.Shipped() && c.ImageID != w.Image.Manifest:
		return "image has changed"
	case c.Labels[LabelBoot] != want[LabelBoot]:
		return "lives for one boot only"
	case c.State == dockerapi.Dead || c.State == dockerapi.Removing:
		return fmt.Sprintf("is %s", c.State)
	}
	return w.Recreate
}

// wait returns the last action of a kept service.
func (w Want) wait(container string) Action {
	a := Action{Kind: WaitReady, Service: w.Name, Container: container, Reason: "ready once started"}
	switch r := w.Decl.Ready; {
	case w.Once():
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

// Orphans returns the actions that remove the containers of OS services that
// exist no more.
func Orphans(decls []images.Declaration, have []dockerapi.Container) []Action {
	var actions []Action
	for _, c := range have {
		name := ServiceOf(c)
		known := slices.ContainsFunc(decls, func(d images.Declaration) bool { return d.Name == name })
		if name != "" && !known {
			actions = append(actions, Action{Kind: RemoveContainer, Service: name, Container: c.ID, Reason: "no such service any more"})
		}
	}
	return actions
}

// Unwanted returns the actions that remove containers whose entry of
// rancher.services exists no more. An image made from such a container has its
// labels, a container of it another name.
func Unwanted(wants []Want, have []dockerapi.Container) []Action {
	var actions []Action
	for _, c := range have {
		entry, ours := c.Labels[LabelConfigured]
		// Earlier versions had no label for the container's name.
		made := cmp.Or(c.Labels[LabelContainer], entry)
		known := slices.ContainsFunc(wants, func(w Want) bool { return w.Care == Started && w.Container == c.Name })
		if ours && !known && made == c.Name {
			actions = append(actions, Action{Kind: RemoveContainer, Service: entry, Container: c.ID, Reason: "no service of this name is configured any more"})
		}
	}
	return actions
}

// Converge returns the actions for all entries of one daemon, given its
// containers. Those without an entry are only removed if the entries are
// complete. The problems are about containers whose name is taken.
func Converge(wants []Want, have []dockerapi.Container, complete bool) (actions []Action, problems []osconfig.Problem) {
	for _, w := range wants {
		list, err := Actions(w, have)
		if err != nil {
			problems = append(problems, osconfig.Problem{Source: w.Name, Text: err.Error()})
		}
		actions = append(actions, list...)
	}
	if complete {
		actions = append(actions, Unwanted(wants, have)...)
	}
	slices.SortStableFunc(actions, func(a, b Action) int { return strings.Compare(a.Service, b.Service) })
	return actions, problems
}

// StopOrder returns OS services in the order in which they stop, those that
// others wait for last. Services of one group can stop together. A Docker engine
// is in the first group whatever its level: people's containers need network,
// name service and logs while they stop.
func StopOrder(services []Want) [][]Want {
	var engines []Want
	var groups [][]Want
	for _, w := range services {
		if w.Engine() || w.further() {
			engines = append(engines, w)
			continue
		}
		for len(groups) <= w.Level {
			groups = append(groups, nil)
		}
		groups[w.Level] = append(groups[w.Level], w)
	}
	slices.Reverse(groups)
	if len(engines) > 0 {
		groups = slices.Insert(groups, 0, engines)
	}
	return groups
}
