package plan

import (
	"maps"
	"slices"
)

// Files are what the configuration adds to a service's container (write_files
// with container). The zero value is nothing.
type Files struct {
	// Binds are bind mounts in Docker's notation.
	Binds []string
	// Version is another one whenever one of the files is, including those
	// that reach the container through a volume of its own.
	Version string
}

// WithFiles returns the service with the files in its container, which is made
// anew when they change.
func (s Service) WithFiles(f Files) Service {
	if f.Version == "" {
		return s
	}
	config, host := *s.Spec.Config, *s.Spec.Host
	config.Labels = maps.Clone(config.Labels)
	config.Labels[LabelSpec] += "-" + f.Version
	host.Binds = slices.Concat(host.Binds, f.Binds)
	s.Spec.Config, s.Spec.Host = &config, &host
	return s
}
