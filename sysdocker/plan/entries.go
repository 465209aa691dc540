package plan

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	osconfig "github.com/bulkhead-os/bulkhead/os-config"
	"github.com/bulkhead-os/bulkhead/sysdocker/spec"
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
		for _, owner := range spec.Owners(services[name]) {
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

// configure translates one entry.
func configure(name string, s osconfig.Service, env map[string]string, readFile func(string) ([]byte, error)) (Want, error) {
	w := Want{
		Name: name, Container: cmp.Or(s.ContainerName, name), Care: Started,
		System: s.Labels[labelScope] == "system", Pull: s.PullPolicy, Build: s.Build, After: needs(s), Networks: s.Networks,
		Ends: s.Labels[labelDetach] == "false", Reloads: s.Labels[labelReload] == "true",
	}
	if s.Build.Context != "" {
		w.Pull = "never"
	}
	if text, has := s.Labels[osconfig.LabelSchedule]; has {
		schedule, err := osconfig.ParseSchedule(text)
		if err != nil {
			return w, osconfig.Problem{Key: "labels." + osconfig.LabelSchedule, Text: err.Error()}
		}
		w.Schedule = schedule
	}
	if s.Labels[labelCreateOnly] == "true" {
		w.Target, w.Why = Existing, "its label "+labelCreateOnly+" says so"
	}
	if w.Ends && s.Restart != "" && s.Restart != "no" && !strings.HasPrefix(string(s.Restart), "on-failure") {
		return w, osconfig.Problem{Key: "labels." + labelDetach, Text: fmt.Sprintf("with restart %s it would never end", s.Restart)}
	}
	if s.Image == "" {
		return w, osconfig.Problem{Text: "image is missing"}
	}
	labels := map[string]string{LabelConfigured: name, LabelContainer: w.Container}
	for key, value := range s.Labels {
		if _, ours := labels[key]; !ours {
			labels[key] = value
		}
	}
	made, err := spec.Composed(name, s, w.System, labels, env, readFile)
	if err != nil {
		return w, err
	}
	w.Spec = made
	labels[LabelSpec], err = spec.Hash(made)
	return w, err
}

// needs are the entries whose containers a container refers to, or must come
// after.
func needs(s osconfig.Service) []string {
	after := slices.Clone(s.DependsOn)
	for _, list := range [][]string{s.Links, s.ExternalLinks, s.VolumesFrom} {
		for _, item := range list {
			name, _, _ := strings.Cut(item, ":")
			after = append(after, name)
		}
	}
	after = append(after, spec.Owners(s)...)
	return append(after, listed(s.Labels[labelAfter])...)
}

// listed are the names in a label.
func listed(label string) []string {
	return strings.FieldsFunc(label, func(r rune) bool { return r == ',' || r == ' ' })
}
