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

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/internal/layout"
	"github.com/bulkhead-os/bulkhead/internal/writefile"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
	"github.com/bulkhead-os/bulkhead/sysdocker/plan"
)

// placeFile returns where the host keeps a file for the container of a service,
// and the mount that takes it there, which is empty if the container has the
// directory of the host anyway. host is empty for a file that the console writes.
func placeFile(f osconfig.File, services []images.Declaration) (host, bind string, err error) {
	if f.Container == "console" || writefile.OnHost(string(f.Path)) {
		return "", "", nil
	}
	i := slices.IndexFunc(services, func(d images.Declaration) bool { return d.Name == f.Container })
	if i < 0 {
		var names []string
		for _, d := range services {
			names = append(names, d.Name)
		}
		slices.Sort(names)
		return "", "", fmt.Errorf("there is no service %s; want one of %s", f.Container, strings.Join(names, ", "))
	}
	target := path.Clean(string(f.Path))
	for _, volume := range services[i].Service.Volumes {
		source, rest, _ := strings.Cut(volume, ":")
		dir, _, _ := strings.Cut(rest, ":")
		if target == dir {
			return "", "", errors.New("the host keeps this file for the service")
		}
		if below, ok := strings.CutPrefix(target, dir+"/"); ok {
			return path.Join(source, below), "", nil
		}
	}
	if f.Append {
		return "", "", errors.New("append: not to a file of another service than the console")
	}
	host = path.Join(layout.ServiceFiles, f.Container, digest(f))
	return host, host + ":" + target + ":ro", nil
}

// digest is a short hash of a file with all its properties.
func digest(f osconfig.File) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%+v", f))
	return hex.EncodeToString(sum[:8])
}

// writeFiles writes files of the configuration for containers of services, and
// adds them to in. A file that cannot be written is left out.
func writeFiles(files []osconfig.File, services []images.Declaration, in *plan.Inputs) error {
	in.Binds, in.Versions = make(map[string][]string), make(map[string]string)
	var errs []error
	for _, f := range files {
		host, bind, err := placeFile(f, services)
		if err == nil && host != "" {
			// Files with passwords may be among them.
			err = errors.Join(os.MkdirAll(layout.ServiceFiles, 0o700), writefile.Write(host, f))
		}
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("write_files: %s: %w", f.Path, err))
			continue
		case host == "":
			continue
		case bind != "":
			in.Binds[f.Container] = append(in.Binds[f.Container], bind)
		}
		in.Versions[f.Container] = strings.TrimPrefix(in.Versions[f.Container]+"-"+digest(f), "-")
	}
	return errors.Join(errs...)
}
