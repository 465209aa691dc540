// Package images holds the declarations of the OS service images and
// services: what goes into each image, how its container runs and with which
// privileges. One folder per service, with its service.yml, its files and, if
// it is ours, its program. This package has no running code; iso builds the
// images, sysdocker runs the services.
package images

import (
	"cmp"
	"embed"
	"time"
)

// Declarations are the service.yml files as shipped.
//
//go:embed */service.yml
var Declarations embed.FS

// Ref is the reference of the image of a service.
func Ref(name, version string) string { return "docker.io/bulkhead/" + name + ":" + version }

// LabelEngine is the label of images for the service docker: the version of the
// engine in them.
const LabelEngine = "io.bulkhead.engine"

// UserDocker is the service whose container is User Docker.
const UserDocker = "docker"

// What is particular to the service console.
const (
	// Console is the service in which people work.
	Console = "console"
	// LabelConsole is the label of images for it: the name by which people
	// choose one. The shipped image has none and is DefaultConsole.
	LabelConsole = "io.bulkhead.console"
	// DefaultConsole and NoConsole are the names that are taken.
	DefaultConsole = "default"
	NoConsole      = "none"
)

// LabelKept is the label, with the value "true", of images whose containers
// keep their own files over reboots although the service's do not.
const LabelKept = "io.bulkhead.kept"

// DefaultOomScore is how readily the kernel kills an OS service when memory runs
// out: after all of the user tier and what people run in their logins, and
// before the engine that runs it.
const DefaultOomScore = -800

// AppArmor profiles for services that Docker's keeps from their work: each is
// Docker's and one right more. A service asks for one by its security_opt.
const (
	ProfileMount      = "bulkhead-mount"       // mounts file systems
	ProfileNetSysctls = "bulkhead-net-sysctls" // writes to /proc/sys/net
	ProfileSignal     = "bulkhead-signal"      // signals processes that are not confined, such as PID 1
)

// Profiles are the names of all such profiles.
func Profiles() []string { return []string{ProfileMount, ProfileNetSysctls, ProfileSignal} }

// A Declaration is one service.yml.
type Declaration struct {
	// Name is the folder's name; image, container and service share it.
	Name    string  `yaml:"-"`
	Image   Image   `yaml:"image"`
	Service Service `yaml:"service"`
}

// Image says what the image is made of.
type Image struct {
	// Layers are the shared layers below the service's own, lowest first:
	// base (Debian userland), engine (Docker's binaries), ros (our binary).
	Layers []string `yaml:"layers"`
	// Packages are Debian packages for the service's own layer; what they
	// depend on and is not in a shared layer comes along.
	Packages []string `yaml:"packages"`
	// Exclude are path patterns (path.Match, or a directory with a trailing
	// slash) of files of Packages that stay out.
	Exclude []string `yaml:"exclude"`
	// Move gives what lies in Packages below one path prefix another one. Links
	// to there follow.
	Move map[string]string `yaml:"move"`
	// FurtherModules: the image holds the kernel's modules that the medium has not.
	FurtherModules bool `yaml:"further_modules"`
	// Users are system users and groups that the packages' maintainer
	// scripts would have made (they do not run).
	Users []User `yaml:"users"`
	// Links are symbolic links to make: path → target.
	Links map[string]string `yaml:"links"`
	// Dirs are directories to make: path → octal mode ("0755").
	Dirs map[string]string `yaml:"dirs"`
}

// A User is a passwd entry with a group of the same name and id.
type User struct {
	Name  string `yaml:"name"`
	ID    int    `yaml:"id"`
	Home  string `yaml:"home"`
	Shell string `yaml:"shell"`
	// Group is an existing group to take instead of one of its own.
	Group string `yaml:"group"`
	// Groups are further groups the user is in.
	Groups []string `yaml:"groups"`
}

// Service says how the container runs. Keys are the Compose specification's;
// those under x- are ours.
type Service struct {
	Command     []string          `yaml:"command"`
	Environment map[string]string `yaml:"environment"`
	// NetworkMode, Pid, Ipc, Uts, Cgroup: "host" or empty for a namespace of its own.
	NetworkMode string `yaml:"network_mode"`
	Pid         string `yaml:"pid"`
	Ipc         string `yaml:"ipc"`
	Uts         string `yaml:"uts"`
	Cgroup      string `yaml:"cgroup"`
	Privileged  bool   `yaml:"privileged"`
	// CapAdd are the only capabilities the service has (all others are dropped).
	CapAdd      []string `yaml:"cap_add"`
	SecurityOpt []string `yaml:"security_opt"`
	ReadOnly    bool     `yaml:"read_only"`
	// Volumes are "source:target[:options]" bind mounts; options as in docker run -v.
	Volumes []string `yaml:"volumes"`
	// Tmpfs are "target[:options]".
	Tmpfs []string `yaml:"tmpfs"`
	// Devices are "path[:path[:rwm]]" and DeviceCgroupRules as in Compose.
	Devices           []string     `yaml:"devices"`
	DeviceCgroupRules []string     `yaml:"device_cgroup_rules"`
	Healthcheck       *Healthcheck `yaml:"healthcheck"`
	// StopGracePeriod is how long the container gets to stop; 10 s when zero.
	StopGracePeriod Duration `yaml:"stop_grace_period"`
	StopSignal      string   `yaml:"stop_signal"`
	// MemLimit is a size such as "64m"; empty means none.
	MemLimit string `yaml:"mem_limit"`
	// OomScoreAdj is DefaultOomScore when it is not there.
	OomScoreAdj *int  `yaml:"oom_score_adj"`
	PidsLimit   int64 `yaml:"pids_limit"`
	// CgroupParent is the parent of the container's cgroup; that of the OS
	// services when empty.
	CgroupParent string `yaml:"cgroup_parent"`
	// Restart is "always" (default: the orchestrator starts it again when it
	// ends) or "no": it runs once per boot and must exit 0.
	Restart string `yaml:"restart"`

	// After are services that must be ready before this one starts.
	After []string `yaml:"x-after"`
	// Ready is what the orchestrator waits for before services After this
	// one start; without it, a started container is ready ("exit" for
	// services with restart "no").
	Ready *Ready `yaml:"x-ready"`
	// NetSysctls: the service may change the kernel's settings of the network
	// (/proc/sys/net). Nothing else in /proc/sys becomes writable.
	NetSysctls bool `yaml:"x-net-sysctls"`
	// Unhealthy says what follows from a failing health check: "restart"
	// (default), or "report" for a service whose health tells about something
	// that a restart cannot mend, such as a missing network.
	Unhealthy string `yaml:"x-unhealthy"`
	// Ephemeral: the container is recreated on each boot.
	Ephemeral bool `yaml:"x-ephemeral"`
	// SharedShim: one shim process looks after this service and all others
	// that say so. It saves 5 MB of memory per service; when that shim dies,
	// they all restart.
	SharedShim bool `yaml:"x-shared-shim"`
	// Reason says, per privilege, why the service needs it. Required for each of
	// Rights.Privileges.
	Reason map[string]string `yaml:"x-reason"`
}

// Grace is how long the container gets to stop.
func (s Service) Grace() time.Duration {
	return cmp.Or(time.Duration(s.StopGracePeriod), 10*time.Second) // Docker's default
}

// OomScore is the container's score for the kernel's OOM killer.
func (s Service) OomScore() int {
	if s.OomScoreAdj == nil {
		return DefaultOomScore
	}
	return *s.OomScoreAdj
}

// Healthcheck is Docker's HEALTHCHECK; setDefaults has the usual times.
type Healthcheck struct {
	Test          []string `yaml:"test"`
	Interval      Duration `yaml:"interval"`
	Timeout       Duration `yaml:"timeout"`
	Retries       int      `yaml:"retries"`
	StartPeriod   Duration `yaml:"start_period"`
	StartInterval Duration `yaml:"start_interval"`
}

// setDefaults sets the times that a health check leaves out. A busy machine is
// not a broken service, so they are long.
func (h *Healthcheck) setDefaults() {
	if h == nil {
		return
	}
	h.Interval = cmp.Or(h.Interval, Duration(time.Minute))
	h.Timeout = cmp.Or(h.Timeout, Duration(time.Minute))
	h.Retries = cmp.Or(h.Retries, 3)
	h.StartPeriod = cmp.Or(h.StartPeriod, Duration(time.Minute))
	h.StartInterval = cmp.Or(h.StartInterval, Duration(5*time.Second))
}

// Ready is a condition seen from the host. Exactly one of Socket,
// Docker and File is set.
type Ready struct {
	// Socket is a unix socket that accepts connections.
	Socket string `yaml:"socket"`
	// Docker is a unix socket on which a Docker API answers /_ping.
	Docker string `yaml:"docker"`
	// File is a path that exists.
	File string `yaml:"file"`
	// Failure is a file in which the service says why it cannot become ready by
	// itself. While the file exists, others start without the service.
	Failure string `yaml:"failure"`
	// Waiting is a file that exists while the service itself waits for other
	// services. It gives back its second slot meanwhile.
	Waiting string `yaml:"waiting"`
	// Timeout is how long others wait: then the orchestrator reports the
	// service as late, and starts them without it. 60 s when zero.
	Timeout Duration `yaml:"timeout"`
}

// Duration is a time.Duration that reads Go's and Compose's notation ("1m30s").
type Duration time.Duration

// An Index is the list of shipped images, written at build time to
// layout.ImageIndex.
type Index struct {
	Images []IndexEntry `json:"images"`
}

// An IndexEntry describes one shipped image.
type IndexEntry struct {
	// Name is the service's name, Ref the full reference with tag.
	Name string `json:"name"`
	Ref  string `json:"ref"`
	// Manifest is the digest of the image's manifest ("sha256:…"), which
	// `docker image inspect` gives as Id.
	Manifest string `json:"manifest"`
	// Archive is the file name in layout.ImagesDir.
	Archive string `json:"archive"`
	// DiffIDs are the layers, lowest first ("sha256:…").
	DiffIDs []string `json:"diff_ids"`
}
