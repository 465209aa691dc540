// Package plan says what containers a machine should have, and which actions
// lead there from the containers that it has. It is pure: it never talks to
// Docker and knows no clock.
package plan

import (
	"maps"
	"slices"
	"strings"

	"github.com/robfig/cron/v3"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
	"github.com/bulkhead-os/bulkhead/sysdocker/control"
)

// Labels of containers.
const (
	// LabelService names the OS service.
	LabelService = "io.bulkhead.service"
	// LabelConfigured names the entry of rancher.services that a container is
	// for, and LabelContainer the container, which an image made from it is not.
	LabelConfigured = "io.bulkhead.configured"
	LabelContainer  = "io.bulkhead.container"
	// LabelSpec is the hash of everything the container was created from.
	LabelSpec = "io.bulkhead.spec"
	// LabelBoot is the boot in which a container that lives for one boot only
	// was created.
	LabelBoot = "io.bulkhead.boot"
)

// Care says who looks after a container once it has started.
type Care int

const (
	// Kept: the orchestrator starts it again and watches its health. These are
	// the OS services.
	Kept Care = iota
	// Started: its daemon does, by its restart policy. These are the entries of
	// rancher.services.
	Started
)

// A Target is what should become of a container.
type Target int

// The targets.
const (
	Running  Target = iota
	Existing        // if it does not run, it stays so
	Stopped         // it does not run, if it exists at all
	Gone            // it does not exist
)

// HasContainer reports whether the container should exist, and may run.
func (t Target) HasContainer() bool { return t == Running || t == Existing }

// A Want is what one container should be. OS services and entries of
// rancher.services differ in its values only.
type Want struct {
	// Name is that of the service, Container that of its container.
	Name, Container string
	// System: it runs in System Docker, else in user Docker.
	System bool
	Care   Care
	// Target is what should become of the container, and Why the reason if that
	// is not to run.
	Target Target
	Why    string
	// After are services of the same care that must be ready before, or started.
	After []string
	// Spec is what the container is created from, labels included.
	Spec dockerapi.Spec

	// Decl and Image are the declaration of an OS service and its image.
	Decl  images.Service
	Image images.IndexEntry
	// Level is 0 for services that wait for none, else one more than the
	// highest level among those it waits for.
	Level int
	// Priority is higher for what starts earlier if not everything can start at
	// once: Docker engines, which take longest, then the services that the
	// longest chains of others wait for.
	Priority int

	// Ends: those after it wait until it has ended.
	Ends bool
	// Reloads: the configuration is read again after it.
	Reloads bool
	// Networks are those that it joins, besides the daemon's own.
	Networks []string
	// Schedule has the times to start it at, if it does not run; nil without any.
	Schedule cron.Schedule
	// Pull says when to get the image: "always" when a container is made,
	// "never", or else if it is missing. Login is for its registry.
	Pull  string
	Login dockerapi.Login
	// Build is how people make the image, which no registry has.
	Build osconfig.Build

	// The next attempt does more, for these reasons: Recreate makes a new
	// container even if this one is as declared, and ReplaceImage loads its
	// image again before; Restart stops a running container and starts it again.
	Recreate, Restart string
	ReplaceImage      bool
}

// label is the label that has the service's name.
func (w Want) label() string {
	if w.Care == Kept {
		return LabelService
	}
	return LabelConfigured
}

// Selector selects the service's containers in a list.
func (w Want) Selector() string { return w.label() + "=" + w.Name }

// Once reports whether the service runs to its end once per boot.
func (w Want) Once() bool { return w.Decl.Restart == "no" }

// Engine reports whether the service is a Docker engine.
func (w Want) Engine() bool { return w.Decl.Ready != nil && w.Decl.Ready.Docker != "" }

// Shipped reports whether the service's image is the one of this OS version.
func (w Want) Shipped() bool { return w.Image.Manifest != "" }

// Current reports whether a container is as wanted, and runs.
func (w Want) Current(c dockerapi.Container) bool {
	return c.Name == w.Container && c.State == dockerapi.Running && w.unfit(c) == ""
}

// Inputs are what Desired depends on. What is empty adds nothing.
type Inputs struct {
	// Declarations and Index are the OS services and their shipped images.
	Declarations []images.Declaration
	Index        images.Index
	// BootID tells this boot from all others.
	BootID string
	// Records are what people have asked for, by service.
	Records map[string]control.Record
	// Lasting are images whose containers outlast a boot, whatever is declared.
	Lasting map[string]bool
	// Binds are bind mounts for files of the configuration, by OS service, and
	// Versions change whenever one of the files does, mounted or not.
	Binds    map[string][]string
	Versions map[string]string
	// Restart are OS services to restart now.
	Restart []string

	// Rancher is the configuration, and Selection the services that it knows.
	Rancher   osconfig.Rancher
	Selection osconfig.Selection
	// ReadFile reads files with variables.
	ReadFile func(string) ([]byte, error)
	// Asked are targets that people have asked for, by entry; they last until
	// the orchestrator ends.
	Asked map[string]Target
}

// Desired returns what containers there should be: first the OS services, in an
// order in which each comes after those that it waits for, then the entries of
// rancher.services. Problems are those of entries, which are left out; the error
// is about OS services, which are left out too.
func Desired(in Inputs) ([]Want, []osconfig.Problem, error) {
	decls, index, engineErr := WithEngines(in.Declarations, in.Index, control.Engines(in.Records))
	wants, err := Services(decls, index, in.BootID)
	for i := range wants {
		wants[i].adapt(in)
	}
	entries, problems := Configure(in.Selection.Services, in.Rancher.Environment, in.ReadFile)
	problems = slices.DeleteFunc(problems, func(p osconfig.Problem) bool { return in.Selection.Off[p.Source] })
	for _, w := range entries {
		asked, is := in.Asked[w.Name]
		switch {
		case is:
			w.Target, w.Why = asked, "asked for"
		case in.Records[control.ConfiguredKey(w.Name)].Stopped:
			w.Target, w.Why = Stopped, "ros service stop"
		case in.Selection.Off[w.Name]:
			w.Target, w.Why = Stopped, "rancher.services_include switches it off"
		}
		w.Login = Login(w.Spec.Config.Image, in.Rancher.RegistryAuths)
		wants = append(wants, w)
	}
	if err == nil {
		err = engineErr
	}
	return wants, problems, err
}

// adapt changes an OS service as people and the configuration want it.
func (w *Want) adapt(in Inputs) {
	r, version := in.Records[w.Name], in.Versions[w.Name]
	config, host := *w.Spec.Config, *w.Spec.Host
	config.Labels = maps.Clone(config.Labels)
	if r.Image != "" {
		config.Image = r.Image
		config.Labels[LabelSpec] += "-" + strings.TrimPrefix(r.Image, "sha256:")
		w.Image = images.IndexEntry{Name: w.Name, Ref: r.Image}
		if in.Lasting[r.Image] {
			delete(config.Labels, LabelBoot)
		}
	}
	if version != "" {
		config.Labels[LabelSpec] += "-" + version
		host.Binds = slices.Concat(host.Binds, in.Binds[w.Name])
	}
	w.Spec.Config, w.Spec.Host = &config, &host
	if r.Stopped {
		w.Target, w.Why = Stopped, "is not to run"
	}
	if slices.Contains(in.Restart, w.Name) {
		w.Restart = "rancher.restart_services"
	}
}
