package osconfig

import "cmp"

// Rancher holds what is particular to this system.
type Rancher struct {
	// Password of `rancher`, in clear or as crypt(5) has it (`$y$…`,
	// `$6$…`). Also lets password logins over SSH in.
	Password Secret `yaml:"password" eg:"$6$bulkhead$DuApHLe9WNL3CY0mb1ldTzDHcD1jKoHqFpVSGpmGUvV8sijlgEiCL0Papyff6QALQCiXLAwKrAeqbUw0eHjam0"`
	// Terminals that need no password. On the kernel command line it may be
	// repeated.
	Autologin StringList `yaml:"autologin" eg:"[tty1, ttyS0]"`
	// Ways to log in that are switched off.
	Disable []LoginWay `yaml:"disable" eg:"[password, autologin]"`
	// The console's SSH server.
	SSH SSH `yaml:"ssh"`
	// The console to log in to, by name or image: see `ros console list`.
	// `default` is the shipped one; with `none` there is none.
	Console string `yaml:"console" eg:"debian"`
	// Values that services may ask for by name; a service's `B*` takes all
	// that begin with B.
	Environment map[string]string `yaml:"environment" eg:"{SITE: berlin}"`
	// Containers in the notation of Compose; with label
	// `io.rancher.os.scope: system` in the system tier, else in user Docker.
	Services map[string]Service `yaml:"services" eg:"{web: {image: nginx, restart: always}}"`
	// Files of services to switch on or off, by name, path or address; see
	// `ros service enable`.
	ServicesInclude map[string]bool `yaml:"services_include" eg:"{kernel-headers: true}"`
	// OS services to restart once the configuration is in force.
	RestartServices []string `yaml:"restart_services" eg:"[ntp]"`
	// Signed catalogues of services, for `ros service refresh`.
	Repositories map[string]Repository `yaml:"repositories" eg:"{core: {url: 'https://example.org/catalogue.yml', public_key: RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3}}"`
	// Logins at registries, by host, for the images of services and upgrades.
	RegistryAuths map[string]RegistryAuth `yaml:"registry_auths" eg:"{registry.example.org: {username: bulk, password: head}}"`
	// Kernel settings.
	Sysctl Sysctls `yaml:"sysctl" eg:"{net.core.somaxconn: 4096}"`
	// How much `/tmp` may hold, which is in memory: a size, or a part of the
	// memory. Half of it without this.
	TmpSize Share `yaml:"tmp_size" origin:"Bulkhead" eg:"2G"`
	// Kernel modules to load, with parameters behind the name.
	Modules []Module `yaml:"modules" eg:"[wireguard, 'dummy numdummies=2']"`
	// How user data is looked for.
	CloudInit CloudInit `yaml:"cloud_init"`
	// The network.
	Network Network `yaml:"network"`
	// Where the machine keeps what must last. Read from the kernel command
	// line only: the other sources lie on the state partition itself.
	State State `yaml:"state"`
	// The user Docker.
	Docker Engine `yaml:"docker"`
	// What all that people cause may take of the machine: engines, containers
	// and what serves them.
	UserTier UserTier `yaml:"user_tier" origin:"Bulkhead"`
	// The system Docker.
	SystemDocker SystemEngine `yaml:"system_docker"`
	// The Docker that RancherOS ran before the state partition was there.
	BootstrapDocker Engine `yaml:"bootstrap_docker" instead:"there is one system Docker; see rancher.system_docker"`
	// Containers to run before the state partition is there.
	Bootstrap map[string]Service `yaml:"bootstrap" instead:"use bootcmd, or a service under rancher.services"`
	// Containers to run before the root file system is there.
	CloudInitServices map[string]Service `yaml:"cloud_init_services" instead:"use bootcmd, or a service under rancher.services"`
	// Device whose last partition grows to the size of the disk, with its
	// file system.
	ResizeDevice Device `yaml:"resize_device" eg:"/dev/sda"`
	// Install this system to a disk without asking; docs/install.md. An
	// installed system ignores it.
	Install Install `yaml:"install" origin:"Bulkhead"`
	// How to find and apply new versions.
	Upgrade Upgrade `yaml:"upgrade"`
	// RancherOS's values of the time it was built.
	Defaults BuildDefaults `yaml:"defaults" instead:"set the key itself: hostname, rancher.network, rancher.docker"`

	// Show each step of the early boot and log more; early boot: kernel
	// command line only.
	Debug bool `yaml:"debug" eg:"true"`
	// Log more while booting.
	Log bool `yaml:"log" instead:"use rancher.debug; logs are in /var/log and system-docker logs"`
	// Rescue shell instead of the boot; kernel command line only.
	Recovery bool `yaml:"recovery" eg:"true"`
	// Start the guest tools that the hypervisor at hand wants.
	HypervisorService bool `yaml:"hypervisor_service" instead:"use services_include with open-vm-tools or qemu-guest-agent, which are optional services"`
	// Seconds that services and containers may take to stop when the machine
	// goes down, from 5; then what still runs is killed. 0: each has its own
	// time only, user containers two minutes.
	ShutdownTimeout ShutdownTimeout `yaml:"shutdown_timeout" eg:"120"`
	// How often to try to load something by HTTP.
	HTTPLoadRetries int `yaml:"http_load_retries" instead:"sources are asked until rancher.cloud_init.timeout is over"`
	// Wait for preloaded images before services start.
	PreloadWait bool `yaml:"preload_wait" eg:"true"`
	// Copy /usr again.
	RemoveUsr bool `yaml:"rm_usr" instead:"/usr is part of the read-only system image and never stale"`
	// Keep mounts in containers from the host.
	NoSharedRoot bool `yaml:"no_sharedroot" instead:"the root file system is always shared; use private volumes (:private) in the service"`
	// Build the console again.
	ForceConsoleRebuild bool `yaml:"force_console_rebuild" instead:"the default console is recreated at each boot, one that keeps its files after: system-docker rm -f console"`
	// cgroup version 1.
	Cgroups struct {
		// Use version 1 only.
		Legacy bool `yaml:"legacy"`
	} `yaml:"cgroups" instead:"there are only cgroups of version 2"`
}

// UserTier limits the user tier. What is not set follows from the machine.
type UserTier struct {
	// Memory; else all but a sixth, which is at least 192 MiB and at most 512, of a
	// small machine a third.
	MemLimit Size `yaml:"mem_limit" origin:"Bulkhead" eg:"1536M"`
	// Swap; else three quarters of what there is.
	SwapLimit Size `yaml:"swap_limit" origin:"Bulkhead" eg:"512M"`
	// Processes and threads; else three quarters of what the kernel allows.
	PidsLimit Signed `yaml:"pids_limit" origin:"Bulkhead" eg:"8192"`
	// Share of the processors when both tiers want them, 1 to 10000; else 100,
	// where the OS has 400.
	CPUWeight Weight `yaml:"cpu_weight" origin:"Bulkhead" eg:"50"`
	// Share of the disks, likewise, with an I/O scheduler that heeds it.
	IOWeight Weight `yaml:"io_weight" origin:"Bulkhead" eg:"50"`
	// Let privileged containers and `--device` open the disks that the OS is on.
	OSDisks bool `yaml:"os_disks" origin:"Bulkhead" eg:"true"`
}

// SSH configures the console's SSH server.
type SSH struct {
	// Whether the SSH server runs.
	Daemon bool `yaml:"daemon" eg:"false"`
	// Port it listens on.
	Port Port `yaml:"port" eg:"2200"`
	// Address it listens on; else all.
	ListenAddress Address `yaml:"listen_address" eg:"10.0.0.1"`
	// Host keys by kind, private (`rsa`) and public (`rsa-pub`), instead of
	// generated ones.
	Keys map[string]Secret `yaml:"keys" eg:"{ed25519: '-----BEGIN OPENSSH PRIVATE KEY-----…'}"`
}

// ListenPort is the port of logins; 0 if there is no SSH server.
func (s SSH) ListenPort() int {
	if !s.Daemon {
		return 0
	}
	return int(cmp.Or(s.Port, 22))
}

// CloudInit says how user data is looked for.
type CloudInit struct {
	// Seconds to wait for a configuration disk; kernel command line only.
	Wait int `yaml:"wait" origin:"Bulkhead" eg:"10"`
	// Where to look for user data and metadata, the preferred first; else on
	// disks and where the firmware says: docs/datasources.md.
	Datasources []DatasourceRef `yaml:"datasources" eg:"['configdrive:/media/config-2', ec2, 'url:https://example.org/user-data']"`
	// Seconds that sources on the network have to answer; 0 means 8.
	Timeout int `yaml:"timeout" origin:"Bulkhead" eg:"30"`
	// Run `runcmd` and scripts once per instance, not at each boot.
	Once bool `yaml:"once" origin:"Bulkhead" eg:"true"`
}

// A Repository is a catalogue of services.
type Repository struct {
	// Address of the catalogue. Its signature is there too, with `.minisig` behind.
	URL URL `yaml:"url" eg:"https://example.org/catalogue.yml"`
	// Key that it is signed with; nothing unsigned is taken.
	PublicKey SigningKey `yaml:"public_key" origin:"Bulkhead" eg:"RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"`
}

// A RegistryAuth is a login at a registry.
type RegistryAuth struct {
	// Name to log in with.
	Username string `yaml:"username" eg:"bulk"`
	// Password or token.
	Password Secret `yaml:"password" eg:"head"`
	// Both, `name:password` in base64, as ~/.docker/config.json has it.
	Auth Secret `yaml:"auth" eg:"YnVsazpoZWFk"`
	// Mail address; unused by today's registries.
	Email string `yaml:"email" eg:"bulk@example.org"`
	// Address of the registry when it differs from the host.
	ServerAddress string `yaml:"serveraddress" alias:"server_address" eg:"https://registry.example.org"`
	// Token to get access tokens with.
	IdentityToken Secret `yaml:"identitytoken" alias:"identity_token" eg:"eyJhbGciOi…"`
	// Access token.
	RegistryToken Secret `yaml:"registrytoken" alias:"registry_token" eg:"eyJhbGciOi…"`
}

// State says where the machine keeps what must last.
type State struct {
	// State partition: a device or LABEL=, UUID=.
	Dev Device `yaml:"dev" def:"LABEL=RANCHER_STATE" eg:"LABEL=RANCHER_STATE"`
	// Its file system.
	FSType string `yaml:"fstype" def:"auto" eg:"ext4"`
	// Directory on the partition to use as its root.
	Directory string `yaml:"directory" eg:"bulkhead"`
	// Blank disks that may be formatted.
	Autoformat StringList `yaml:"autoformat" eg:"[/dev/sda, /dev/vda]"`
	// Wait for the device.
	Wait bool `yaml:"wait" eg:"true"`
	// Stop instead of running in RAM without it.
	Required bool `yaml:"required" eg:"true"`
	// Assemble software RAID first.
	MdadmScan bool `yaml:"mdadm_scan" instead:"software RAID cannot hold the state; use a RAID controller's volume"`
	// Activate LVM volumes first.
	LVMScan bool `yaml:"lvm_scan" instead:"LVM cannot hold the state; use a partition"`
	// Unlock LUKS volumes first.
	Cryptsetup bool `yaml:"cryptsetup" instead:"LUKS cannot hold the state; use a disk or a hypervisor that encrypts"`
	// Feed the kernel's random numbers from hardware.
	Rngd bool `yaml:"rngd" instead:"the kernel seeds itself from hardware"`
	// Overwrite disks with zeros before formatting.
	FormatZero bool `yaml:"formatzero" instead:"only blank disks are formatted; clear one by hand with wipefs"`
	// Script to run before the state partition is looked for.
	Script string `yaml:"script" instead:"boot with rancher.recovery=true to prepare a disk by hand"`
	// Partition with the maker's configuration.
	OEMDev Device `yaml:"oem_dev" def:"LABEL=RANCHER_OEM" eg:"LABEL=RANCHER_OEM"`
	// Its file system.
	OEMFSType string `yaml:"oem_fstype" def:"auto" eg:"ext4"`
	// Partition with the boot loader.
	BootDev Device `yaml:"boot_dev" instead:"the boot loader's partition is found by itself"`
	// Its file system.
	BootFSType string `yaml:"boot_fstype" instead:"the boot loader's partition is found by itself"`
}

// Install is an installation that nobody attends to.
type Install struct {
	// The disk, or `auto` for the only one there is. It must be empty, or be
	// named by force.
	Device Device `yaml:"device" eg:"/dev/sda"`
	// Serial number of a disk that may be overwritten, or GUID of its partition
	// table.
	Force string `yaml:"force" eg:"S3Z9NB0K123456"`
	// Further kernel parameters of the installed system.
	Append string `yaml:"append" eg:"console=ttyS1"`
	// Reboot afterwards.
	Reboot bool `yaml:"reboot" eg:"false"`
	// Name of the installation: a disk that has it is not installed to again.
	// Else made from the other keys.
	ID string `yaml:"id" eg:"rack7-2026"`
}

// Upgrade says how to find and apply new versions.
type Upgrade struct {
	// Where `ros os upgrade` gets a release: the address of its folder.
	URL URL `yaml:"url" eg:"https://example.org/bulkhead/stable/"`
	// Public keys that releases may be signed with, in addition to those of the image.
	Keys []SigningKey `yaml:"keys" origin:"Bulkhead" eg:"[RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3]"`
	// How long a new system may take, from the start of the machine, until it is as
	// good as the one before.
	Timeout Duration `yaml:"timeout" origin:"Bulkhead" eg:"15m"`
	// How long it then has to stay so.
	Settle Duration `yaml:"settle" origin:"Bulkhead" eg:"2m"`
	// Image that upgrades come in.
	Image string `yaml:"image" instead:"a release is a folder: rancher.upgrade.url"`
	// Version to go back to; RancherOS set it itself.
	Rollback string `yaml:"rollback" instead:"an upgrade keeps the version before it, which the boot menu offers"`
	// What to do about a new version without being asked.
	Policy UpgradePolicy `yaml:"policy" eg:"none"`
}

// BuildDefaults are what RancherOS was built with.
type BuildDefaults struct {
	// See hostname.
	Hostname Hostname `yaml:"hostname"`
	// See rancher.docker.
	Docker Engine `yaml:"docker"`
	// See rancher.network.
	Network Network `yaml:"network"`
	// Log of the system Docker.
	SystemDockerLogs AbsPath `yaml:"system_docker_logs"`
}
