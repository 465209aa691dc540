package plan

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
)

// Kinds of actions that only containers of rancher.services need.
const (
	MakeNetwork Kind = "make-network" // unless it is there
	PullImage   Kind = "pull-image"   // unless it is there, or always: see Configured.Pull
)

// A Target is what is to become of the container of an entry.
type Target int

// The targets.
const (
	ToRun   Target = iota
	ToExist        // it is there; if it does not run, it stays so
	ToRest         // it does not run, if it is there at all
	ToGo           // it is not there
)

// HasContainer tells whether the container is to be there, and may run.
func (t Target) HasContainer() bool { return t == ToRun || t == ToExist }

// Mistakes are what is wrong with entries, by their names. The errors begin
// with the key below the entry's, or with ": ".
type Mistakes map[string]error

// Err is all of them as one error, nil without any.
func (m Mistakes) Err() error {
	var errs errorList
	for _, name := range slices.Sorted(maps.Keys(m)) {
		errs.add("rancher.services.%s%w", name, m[name])
	}
	return errs.join()
}

// Bring returns the actions that make the container of an entry what it is to
// be, given the existing ones of its daemon. What can fail for want of a
// network comes first, so that a container from before runs until then. The
// error is that the container's name is taken.
func (c Configured) Bring(existing []dockerapi.Container) ([]Action, error) {
	var actions []Action
	add := func(a Action) {
		a.Service = c.Name
		actions = append(actions, a)
	}
	create, old := "there is none yet", ""
	for _, have := range existing {
		if have.Name != c.Container {
			continue
		}
		ours := have.Labels[LabelConfigured] == c.Name
		switch {
		case c.Target == ToGo && ours:
			add(Action{Kind: RemoveContainer, Container: have.ID, Reason: c.Why})
			return actions, nil
		case c.Target == ToRest && ours && IsActive(have):
			add(Action{Kind: StopContainer, Container: have.ID, Reason: c.Why})
			return actions, nil
		case c.Target == ToGo || c.Target == ToRest:
			return nil, nil
		case !ours:
			return nil, fmt.Errorf("container %s exists and is not from the configuration: remove or rename it", c.Container)
		case have.Labels[LabelSpec] != c.Spec.Config.Labels[LabelSpec]:
			old, create = have.ID, "its entry has changed"
		case c.Target == ToExist || IsActive(have):
			return nil, nil
		default:
			add(Action{Kind: StartContainer, Container: have.ID, Reason: fmt.Sprintf("is %s", have.State), After: c.After})
			return actions, nil
		}
	}
	if c.Target == ToGo || c.Target == ToRest {
		return nil, nil
	}
	for _, name := range c.Networks {
		add(Action{Kind: MakeNetwork, Object: name, Reason: "it joins it, unless it is there"})
	}
	switch c.Pull {
	case "never":
	case "always":
		add(Action{Kind: PullImage, Object: c.Spec.Config.Image, Reason: "pull_policy is always"})
	default:
		add(Action{Kind: PullImage, Object: c.Spec.Config.Image, Reason: "needed for a new container, unless it is there"})
	}
	if old != "" {
		add(Action{Kind: RemoveContainer, Container: old, Reason: create})
	}
	add(Action{Kind: CreateContainer, Reason: create})
	if c.Target == ToRun {
		add(Action{Kind: StartContainer, Reason: "new container", After: c.After})
	}
	return actions, nil
}

// IsActive tells whether a container runs, or will again by itself.
func IsActive(c dockerapi.Container) bool { return isUp(c) || c.State == dockerapi.Restarting }

// Converge returns what is to be done about all entries of one daemon, given
// its containers. Containers without an entry are only removed if the entries
// are complete.
func Converge(entries []Configured, existing []dockerapi.Container, complete bool) ([]Action, error) {
	var actions []Action
	var errs []error
	names := make(map[string]bool)
	for _, c := range entries {
		names[c.Container] = true
		list, err := c.Bring(existing)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", c.Name, err))
		}
		actions = append(actions, list...)
	}
	if !complete {
		return actions, errors.Join(errs...)
	}
	ours := slices.DeleteFunc(slices.Clone(existing), func(c dockerapi.Container) bool {
		_, ours := c.Labels[LabelConfigured]
		return !ours
	})
	for _, c := range Unwanted(ours, names) {
		actions = append(actions, Action{
			Kind: RemoveContainer, Service: c.Labels[LabelConfigured], Container: c.ID, Reason: "no service of this name is configured any more",
		})
	}
	slices.SortStableFunc(actions, func(a, b Action) int { return strings.Compare(a.Service, b.Service) })
	return actions, errors.Join(errs...)
}
