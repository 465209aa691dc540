package plan

import (
	"maps"
	"strings"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/internal/dockerapi"
)

// WithImage returns the service as made from the image with this ID instead of
// the shipped one; an empty ID changes nothing.
func (s Service) WithImage(id string) Service {
	if id == "" {
		return s
	}
	config := *s.Spec.Config
	config.Image = id
	config.Labels = maps.Clone(config.Labels)
	config.Labels[LabelSpec] += "-" + strings.TrimPrefix(id, "sha256:")
	s.Spec.Config = &config
	s.Image = images.IndexEntry{Name: s.Name, Ref: id}
	return s
}

// Kept returns the service with a container that lasts over reboots, whatever
// its declaration says.
func (s Service) Kept() Service {
	config := *s.Spec.Config
	config.Labels = maps.Clone(config.Labels)
	delete(config.Labels, LabelBoot)
	s.Spec.Config = &config
	return s
}

// Foreign tells whether the service's image is not the shipped one.
func (s Service) Foreign() bool { return s.Image.Manifest == "" }

// Current tells whether a container is the service's as it is now, and runs.
func (s Service) Current(c dockerapi.Container) bool {
	return c.Name == s.Name && c.State == dockerapi.Running && replaceReason(s, c, Options{}) == ""
}

// Rest returns the actions that stop a service which is not to run.
func Rest(s Service, existing []dockerapi.Container) []Action {
	var actions []Action
	for _, c := range existing {
		if c.Labels[LabelService] == s.Name && isUp(c) {
			actions = append(actions, Action{Kind: StopContainer, Service: s.Name, Container: c.ID, Reason: "is not to run"})
		}
	}
	return actions
}
