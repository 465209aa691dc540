package images

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var (
	nameRE  = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)
	capRE   = regexp.MustCompile(`^[A-Z][A-Z_]*$`)
	sizeRE  = regexp.MustCompile(`^[0-9]+[bkmg]?$`)
	groupRE = regexp.MustCompile(`^[a-z_][a-z0-9_-]*$`)
)

// validate checks each declaration and then what holds between them.
func validate(decls []Declaration) []error {
	var errs []error
	names := make(map[string]bool)
	for _, d := range decls {
		names[d.Name] = true
	}
	for _, d := range decls {
		file := d.Name + "/service.yml"
		if !nameRE.MatchString(d.Name) {
			errs = append(errs, fmt.Errorf("%s: folder name is no container name", file))
		}
		errs = append(errs, prefix(file, d.Image.validate())...)
		errs = append(errs, prefix(file, d.Service.validate(names))...)
	}
	if _, err := Levels(decls); err != nil {
		errs = append(errs, fmt.Errorf("service.x-after: %w", err))
	}
	return append(errs, checkUsers(decls)...)
}

func (img Image) validate() []error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	last := -1
	for _, l := range img.Layers {
		i := slices.Index(LayerOrder(), l)
		switch {
		case i < 0:
			fail("image.layers: no shared layer %q; there are %s", l, strings.Join(LayerOrder(), ", "))
		case i <= last:
			// One order everywhere, so that images share chains of layers.
			fail("image.layers: want the order %s", strings.Join(LayerOrder(), ", "))
		}
		last = max(last, i)
	}
	for from, to := range img.Move {
		if !path.IsAbs(from) || !path.IsAbs(to) {
			fail("image.move: %q: %q: want two absolute paths", from, to)
		}
	}
	for _, p := range img.Exclude {
		if !path.IsAbs(p) {
			fail("image.exclude: %q is not absolute", p)
		}
		if _, err := path.Match(p, "/"); err != nil {
			fail("image.exclude: %q: %w", p, err)
		}
	}
	for _, p := range slices.Sorted(maps.Keys(img.Links)) {
		if !cleanAbs(p) || img.Links[p] == "" {
			fail("image.links: %q: want a clean absolute path and a target", p)
		}
	}
	for _, p := range slices.Sorted(maps.Keys(img.Dirs)) {
		if _, err := strconv.ParseUint(img.Dirs[p], 8, 12); !cleanAbs(p) || err != nil {
			fail("image.dirs: %q: %q: want a clean absolute path and an octal mode", p, img.Dirs[p])
		}
	}
	for _, u := range img.Users {
		if !groupRE.MatchString(u.Name) || u.ID <= 0 || u.ID >= 65534 {
			fail("image.users: %q, id %d: want a lower-case name and an id from 1 to 65533", u.Name, u.ID)
		}
		if strings.ContainsAny(u.Home+u.Shell, ":\n") {
			fail("image.users: %s: colon or newline in home or shell", u.Name)
		}
	}
	return errs
}

func (s Service) validate(names map[string]bool) []error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(s.Command) == 0 || !path.IsAbs(s.Command[0]) {
		fail("service.command: want an absolute path first")
	}
	for key, value := range s.namespaces() {
		if ok := value == "" || value == "host" || key == "network_mode" && value == "none"; !ok {
			fail("service.%s: %q; want host or nothing", key, value)
		}
	}
	for _, c := range s.CapAdd {
		if !capRE.MatchString(c) || strings.HasPrefix(c, "CAP_") {
			fail("service.cap_add: %q; want a name without CAP_", c)
		}
	}
	for _, v := range s.Volumes {
		parts := strings.Split(v, ":")
		if len(parts) < 2 || len(parts) > 3 || !path.IsAbs(parts[0]) || !path.IsAbs(parts[1]) {
			fail("service.volumes: %q; want /source:/target[:options]", v)
		}
	}
	for _, v := range s.Tmpfs {
		if !path.IsAbs(v) {
			fail("service.tmpfs: %q is not absolute", v)
		}
	}
	if s.MemLimit != "" && !sizeRE.MatchString(s.MemLimit) {
		fail("service.mem_limit: %q; want a size such as 64m", s.MemLimit)
	}
	if score := s.OomScore(); score < -1000 || score > 1000 {
		fail("service.oom_score_adj: %d is not within -1000 and 1000", score)
	}
	if s.CgroupParent != "" && !cleanAbs(s.CgroupParent) {
		fail("service.cgroup_parent: %q; want a clean absolute path", s.CgroupParent)
	}
	if !slices.Contains([]string{"", "always", "no"}, s.Restart) {
		fail("service.restart: %q; want always or no", s.Restart)
	}
	if !slices.Contains([]string{"", "restart", "report"}, s.Unhealthy) {
		fail("service.x-unhealthy: %q; want restart or report", s.Unhealthy)
	}
	if h := s.Healthcheck; h != nil {
		if len(h.Test) < 2 || h.Test[0] != "CMD" && h.Test[0] != "CMD-SHELL" {
			fail("service.healthcheck.test: want CMD or CMD-SHELL and a command")
		}
	}
	for _, a := range s.After {
		if !names[a] {
			fail("service.x-after: no service %q", a)
		}
	}
	if r := s.Ready; r != nil {
		set := 0
		for _, p := range []string{r.Socket, r.Docker, r.File} {
			if p == "" {
				continue
			}
			set++
			if !path.IsAbs(p) {
				fail("service.x-ready: %q is not absolute", p)
			}
		}
		if r.Failure != "" && !path.IsAbs(r.Failure) {
			fail("service.x-ready.failure: %q is not absolute", r.Failure)
		}
		if r.Waiting != "" && !path.IsAbs(r.Waiting) {
			fail("service.x-ready.waiting: %q is not absolute", r.Waiting)
		}
		if set != 1 {
			fail("service.x-ready: want exactly one of socket, docker and file")
		}
	}
	return append(errs, s.checkReasons()...)
}

// checkReasons: no privilege without a written reason, no reason without its
// privilege.
func (s Service) checkReasons() []error {
	need := s.rights().Privileges()
	var errs []error
	for _, k := range need {
		if s.Reason[k] == "" {
			errs = append(errs, fmt.Errorf("service.x-reason: no reason for %s", k))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(s.Reason)) {
		if !slices.Contains(need, k) {
			errs = append(errs, fmt.Errorf("service.x-reason: %s is not a privilege of this service", k))
		}
	}
	return errs
}

// Levels returns for each service how many services have to be ready before it,
// one after the other. Services that wait for each other are an error.
func Levels(decls []Declaration) (map[string]int, error) {
	after := make(map[string][]string)
	for _, d := range decls {
		after[d.Name] = d.Service.After
	}
	level := make(map[string]int)
	// visit computes the level of name; path are the services that led to it.
	var visit func(name string, path []string) error
	visit = func(name string, path []string) error {
		if _, done := level[name]; done {
			return nil
		}
		if i := slices.Index(path, name); i >= 0 {
			return fmt.Errorf("services wait for each other: %s", strings.Join(append(path[i:], name), " → "))
		}
		highest := -1
		for _, dep := range after[name] {
			if err := visit(dep, append(path, name)); err != nil {
				return err
			}
			highest = max(highest, level[dep])
		}
		level[name] = highest + 1
		return nil
	}
	for _, d := range decls {
		if err := visit(d.Name, nil); err != nil {
			return nil, err
		}
	}
	return level, nil
}

// checkUsers: services share files on the state partition, so a name must
// mean one id and an id one name in all images.
func checkUsers(decls []Declaration) []error {
	var errs []error
	byName, byID := make(map[string]int), make(map[int]string)
	for _, d := range decls {
		for _, u := range d.Image.Users {
			if id, ok := byName[u.Name]; ok && id != u.ID {
				errs = append(errs, fmt.Errorf("%s/service.yml: user %s has id %d here and %d elsewhere", d.Name, u.Name, u.ID, id))
			}
			if name, ok := byID[u.ID]; ok && name != u.Name {
				errs = append(errs, fmt.Errorf("%s/service.yml: id %d is %s here and %s elsewhere", d.Name, u.ID, u.Name, name))
			}
			byName[u.Name], byID[u.ID] = u.ID, u.Name
		}
	}
	return errs
}

func cleanAbs(p string) bool { return path.IsAbs(p) && path.Clean(p) == p }
