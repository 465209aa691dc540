package orchestrator

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/writefile"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
	"github.com/bulkhead-os/bulkhead/sysdocker/plan"
)

// A placedFile is a file of the configuration for the container of a service.
type placedFile struct {
	osconfig.File
	// host is where the host keeps it.
	host string
	// bind is the mount that takes it into the container; empty for a file
	// in a directory of the host that the container has anyway.
	bind string
}

// placeFiles returns the files for services by service, without those that the
// console writes.
func placeFiles(files []osconfig.File, services []plan.Service) (map[string][]placedFile, error) {
	placed := make(map[string][]placedFile)
	var errs []error
	for _, f := range files {
		if f.Container == "console" || writefile.OnHost(string(f.Path)) {
			continue
		}
		p, err := placeFile(f, services)
		if err != nil {
			errs = append(errs, fmt.Errorf("write_files: %s: %w", f.Path, err))
			continue
		}
		placed[f.Container] = append(placed[f.Container], p)
	}
	return placed, errors.Join(errs...)
}

func placeFile(f osconfig.File, services []plan.Service) (placedFile, error) {
	i := slices.IndexFunc(services, func(s plan.Service) bool { return s.Name == f.Container })
	if i < 0 {
		var names []string
		for _, s := range services {
			names = append(names, s.Name)
		}
		slices.Sort(names)
		return placedFile{}, fmt.Errorf("there is no service %s; want one of %s", f.Container, strings.Join(names, ", "))
	}
	target := path.Clean(string(f.Path))
	for _, volume := range services[i].Decl.Volumes {
		source, rest, _ := strings.Cut(volume, ":")
		dir, _, _ := strings.Cut(rest, ":")
		if target == dir {
			return placedFile{}, errors.New("the host keeps this file for the service")
		}
		if below, ok := strings.CutPrefix(target, dir+"/"); ok {
			return placedFile{File: f, host: path.Join(source, below)}, nil
		}
	}
	if f.Append {
		return placedFile{}, errors.New("append: not to a file of another service than the console")
	}
	host := path.Join(layout.ServiceFiles, f.Container, digest(f))
	return placedFile{File: f, host: host, bind: host + ":" + target + ":ro"}, nil
}

// digest is a short hash of a file with all its properties.
func digest(f osconfig.File) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%+v", f))
	return hex.EncodeToString(sum[:8])
}

// writeServiceFiles writes the files and returns what services get. A file that
// cannot be written is left out.
func writeServiceFiles(placed map[string][]placedFile) (map[string]plan.Files, error) {
	var errs []error
	// Files with passwords may be among them.
	if len(placed) > 0 {
		errs = append(errs, os.MkdirAll(layout.ServiceFiles, 0o700))
	}
	files := make(map[string]plan.Files)
	for service, list := range placed {
		var got plan.Files
		var versions []string
		for _, f := range list {
			if err := writefile.Write(f.host, f.File); err != nil {
				errs = append(errs, fmt.Errorf("write_files: %s: %w", f.Path, err))
				continue
			}
			versions = append(versions, digest(f.File))
			if f.bind != "" {
				got.Binds = append(got.Binds, f.bind)
			}
		}
		got.Version = strings.Join(versions, "-")
		files[service] = got
	}
	return files, errors.Join(errs...)
}
