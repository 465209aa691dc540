package osconfig

// Config is a machine's whole configuration. The yaml tags are RancherOS's
// keys. docs/config.md explains each key; a test holds it against these types.
type Config struct {
	Hostname          Hostname  `yaml:"hostname"`
	SSHAuthorizedKeys []string  `yaml:"ssh_authorized_keys"`
	WriteFiles        []File    `yaml:"write_files"`
	RunCmd            []Command `yaml:"runcmd"`
	Rancher           Rancher   `yaml:"rancher"`
}

// A File is an entry of write_files.
type File struct {
	Path     AbsPath  `yaml:"path"`
	Content  string   `yaml:"content"`
	Encoding Encoding `yaml:"encoding"`
	// Owner is "user", "user:group" or numbers instead of names.
	Owner       string `yaml:"owner"`
	Permissions Mode   `yaml:"permissions"`
	// Container is the OS service whose files it belongs to.
	Container string `yaml:"container"`
}

func (f *File) setDefaults() {
	f.Owner = "root"
	f.Permissions = 0o644
	f.Container = "console"
}

// Rancher holds what is particular to this system.
type Rancher struct {
	Password Secret `yaml:"password"`
	// Autologin are terminals ("tty1", "ttyS0") that need no password.
	Autologin   StringList         `yaml:"autologin"`
	SSH         SSH                `yaml:"ssh"`
	Environment map[string]string  `yaml:"environment"`
	Services    map[string]Service `yaml:"services"`
	Sysctl      map[string]string  `yaml:"sysctl"`
	Modules     []string           `yaml:"modules"`
	CloudInit   CloudInit          `yaml:"cloud_init"`
	State       State              `yaml:"state"`
	Debug       bool               `yaml:"debug"`
	Recovery    bool               `yaml:"recovery"`
}

// SSH configures the console's SSH server.
type SSH struct {
	Daemon        bool    `yaml:"daemon"`
	Port          Port    `yaml:"port"`
	ListenAddress Address `yaml:"listen_address"`
}

// CloudInit says how the user data is looked for.
type CloudInit struct {
	// Wait is how many seconds to wait for a configuration disk to appear.
	Wait int `yaml:"wait"`
	// Datasources are where to look, the preferred first. None means disks,
	// and what the firmware says the platform has.
	Datasources StringList `yaml:"datasources"`
	// Timeout is how many seconds sources on the network have to answer; 0 is
	// the service's own limit.
	Timeout int `yaml:"timeout"`
	// Once makes runcmd and scripts run once per instance, not at each boot.
	Once bool `yaml:"once"`
}

// A Service is a container in the notation of Compose version 1.
type Service struct {
	Image       string      `yaml:"image"`
	Command     Words       `yaml:"command"`
	Environment Environment `yaml:"environment"`
	Volumes     []string    `yaml:"volumes"`
	Ports       []string    `yaml:"ports"`
	Restart     string      `yaml:"restart"`
	Privileged  bool        `yaml:"privileged"`
	NetworkMode string      `yaml:"network_mode"`
	Net         string      `yaml:"net"`
	Labels      Labels      `yaml:"labels"`
}

// State says where the machine keeps what must last. /init reads it, from the
// kernel line only: the other sources lie on the state partition itself.
type State struct {
	Dev        string     `yaml:"dev"`
	FSType     string     `yaml:"fstype"`
	Directory  string     `yaml:"directory"`
	Autoformat StringList `yaml:"autoformat"`
	Wait       bool       `yaml:"wait"`
	Required   bool       `yaml:"required"`
}

// Defaults returns the configuration of a machine that nobody configured.
func Defaults() Config {
	return Config{Rancher: Rancher{SSH: SSH{Daemon: true, Port: 22}}}
}

// DefaultHostname is the name of a machine that got none from anywhere.
const DefaultHostname = "bulkhead"

// notYet are keys of RancherOS that are understood but have no effect in this
// version, so that they are told apart from mistyped ones.
var notYet = map[string]bool{
	"mounts":                        true,
	"bootcmd":                       true,
	"rancher.console":               true,
	"rancher.bootstrap":             true,
	"rancher.bootstrap_docker":      true,
	"rancher.cloud_init_services":   true,
	"rancher.defaults":              true,
	"rancher.disable":               true,
	"rancher.docker":                true,
	"rancher.force_console_rebuild": true,
	"rancher.http_load_retries":     true,
	"rancher.hypervisor_service":    true,
	"rancher.log":                   true,
	"rancher.network":               true,
	"rancher.no_sharedroot":         true,
	"rancher.preload_wait":          true,
	"rancher.registry_auths":        true,
	"rancher.repositories":          true,
	"rancher.resize_device":         true,
	"rancher.restart_services":      true,
	"rancher.rm_usr":                true,
	"rancher.services_include":      true,
	"rancher.shutdown_timeout":      true,
	"rancher.ssh.keys":              true,
	"rancher.state.boot_dev":        true,
	"rancher.state.boot_fstype":     true,
	"rancher.state.cryptsetup":      true,
	"rancher.state.lvm_scan":        true,
	"rancher.state.mdadm_scan":      true,
	"rancher.state.oem_dev":         true,
	"rancher.state.oem_fstype":      true,
	"rancher.state.rngd":            true,
	"rancher.state.script":          true,
	"rancher.system_docker":         true,
	"rancher.upgrade":               true,
}
