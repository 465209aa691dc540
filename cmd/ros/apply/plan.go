// Package apply brings a running machine in line with what its configuration
// says now. MakePlan works out, from configurations alone, what happens to
// each key that changed; a Machine does it, with the code that does it at boot
// or by asking the service that did. It reads no configuration but through
// package osconfig and decides nothing about what a key means.
package apply

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

// An Effect is how a change gets into force.
type Effect string

const (
	// Now: the running system is changed, nothing stops.
	Now Effect = "now"
	// Restart: a service restarts.
	Restart Effect = "restart"
	// Later: it counts the next time that it is used; nothing waits for it.
	Later Effect = "later"
	// Reboot: the machine goes on as it was until it is restarted.
	Reboot Effect = "reboot"
)

// A Change is one key that changed, and what becomes of it.
type Change struct {
	Key    string `json:"key"`
	Effect Effect `json:"effect"`
	// Service is what restarts.
	Service string `json:"service,omitempty"`
	Reason  string `json:"reason"`
	// steps are what gets the change into force.
	steps []Step
}

// A Plan is what remains to do.
type Plan struct {
	// Changes are sorted by key.
	Changes []Change
	// Steps are in the order of execution, each once.
	Steps []Step
}

// Has reports whether a change has the effect.
func (p Plan) Has(e Effect) bool {
	return slices.ContainsFunc(p.Changes, func(c Change) bool { return c.Effect == e })
}

// MakePlan returns what brings a machine in line with the configuration that is
// wanted. It booted with one, and since has what has been applied to it: one,
// or several when attempts failed and left it somewhere between them.
func MakePlan(boot osconfig.Config, since []osconfig.Config, wanted osconfig.Config) Plan {
	var p Plan
	add := func(from osconfig.Config, which func(Effect) bool) {
		for _, key := range osconfig.Changed(from, wanted) {
			known := slices.ContainsFunc(p.Changes, func(c Change) bool { return c.Key == key })
			if c := judge(key); which(c.Effect) && !known {
				p.Changes = append(p.Changes, c)
			}
		}
	}
	for _, applied := range since {
		add(applied, func(e Effect) bool { return e != Reboot })
	}
	// What needs a reboot goes on needing it until there is one.
	add(boot, func(e Effect) bool { return e == Reboot })
	for _, l := range leftovers {
		if slices.ContainsFunc(append([]osconfig.Config{boot}, since...), func(old osconfig.Config) bool { return l.left(old, wanted) }) {
			p.Changes = append(p.Changes, Change{Key: l.key, Effect: Reboot, Reason: l.reason})
		}
	}
	slices.SortStableFunc(p.Changes, func(a, b Change) int { return cmp.Compare(a.Key, b.Key) })
	for _, s := range order {
		if slices.ContainsFunc(p.Changes, func(c Change) bool { return slices.Contains(c.steps, s) }) {
			p.Steps = append(p.Steps, s)
		}
	}
	return p
}

// judge finds the rule for a key: the longest that covers it.
func judge(key string) Change {
	best := rule{effect: Reboot, reason: "it is read when the machine boots"}
	for _, r := range rules {
		if (key == r.key || strings.HasPrefix(key, r.key+".")) && len(r.key) > len(best.key) {
			best = r
		}
	}
	c := Change{Key: key, Effect: best.effect, Reason: best.reason, steps: best.steps}
	if best.effect == Restart {
		last := best.steps[len(best.steps)-1]
		c.Service = last.service()
	}
	return c
}

// String is a change on one line.
func (c Change) String() string {
	return fmt.Sprintf("%s: %s: %s", c.Key, c.What(), c.Reason)
}

// What says in a few words what happens.
func (c Change) What() string {
	switch c.Effect {
	case Now:
		return "changes now"
	case Restart:
		return "restarts " + c.Service
	case Later:
		return "counts later"
	}
	return "needs a reboot"
}
