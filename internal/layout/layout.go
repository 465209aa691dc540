// Package layout names the places of the running OS: files, directories and
// sockets that more than one program must agree on. It holds constants only.
package layout

// SharedDirs are the directories that people, the host and user Docker have in
// common under one name, with what is mounted below them. What is in them lasts.
// images/console/service.yml and images/docker/service.yml mount them.
func SharedDirs() []string {
	return []string{"/home", "/root", "/srv", "/data", "/opt", "/usr/local", "/var/tmp", "/mnt", "/media"}
}

// RootRunDirs hold what root runs at boot or finds in its PATH. They are mounts of
// their own, read-only but in the console.
func RootRunDirs() []string { return []string{"/opt/rancher", "/opt/bin"} }

// The read-only root image. Everything of ours in it lives under Root, so the
// rest of the tree is plain Debian.
const (
	Root = "/bulkhead"
	// LayersDir holds one directory per image layer, named by the hex part of
	// its diff ID. System containers mount these directories as overlay lower
	// directories; nothing is unpacked at boot.
	LayersDir = Root + "/layers"
	// ImagesDir holds one OCI archive per image (manifest and configuration
	// only; the layers are in LayersDir) and ImageIndex.
	ImagesDir = Root + "/images"
	// ImageIndex lists every shipped image; see images.Index.
	ImageIndex = ImagesDir + "/index.json"
	// EngineBin is the directory of the engine's binaries (dockerd,
	// containerd, runc, docker, …), a link into the engine layer.
	EngineBin = Root + "/engine/bin"
	// HostLibexecDir holds one link per program of our own (orchestrator, …) to
	// the ros binary. In every service image that is /usr/lib/bulkhead.
	HostLibexecDir = Root + "/ros/lib/bulkhead"
	// ModulesDir is bound to /usr/lib/modules by /init.
	ModulesDir = Root + "/modules"
	// ModulesImage holds the modules that few boots load. /init mounts it on
	// ModulesImageAt in the running kernel's folder of ModulesDir.
	ModulesImage   = Root + "/modules.erofs"
	ModulesImageAt = "kernel"
	// MediumDir is where the file system that carries the root image is mounted.
	MediumDir = Root + "/medium"
	// LoaderDir holds the boot loader of installed disks: for UEFI what lies in
	// EFI/BOOT of the EFI partition under the same names, and these.
	LoaderDir        = Root + "/loader"
	LoaderBootSector = "boot.img"
	LoaderCore       = "core.img"
	LoaderMenu       = "grub.cfg"
	LoaderBootState  = "bootstate.img"
	// A medium, a release and a slot have the same files: kernel, initramfs, root
	// image, how GRUB starts them from a slot, and what names them (package
	// release).
	KernelFile       = "boot/vmlinuz"
	InitramfsFile    = "boot/initrd"
	SlotConfig       = "boot/slot.cfg"
	RootImage        = "bulkhead/root.erofs"
	ReleaseFile      = "release.json"
	ReleaseSignature = ReleaseFile + ".minisig"
	// ReleaseKeys has the public keys of those who make releases; absent if the
	// build got none.
	ReleaseKeys = Root + "/release.keys"
	// AppArmorPolicy has the profiles of containers as the kernel takes them.
	AppArmorPolicy = Root + "/apparmor"
	// RootDigest, in the initramfs, is the fs-verity digest of the root image
	// that belongs to it.
	RootDigest = Root + "/root.digest"
	// SlotParam and PartParam are the kernel parameters by which the boot loader
	// of an installed disk says which slot it started, and the UUID of its
	// partition.
	SlotParam = "bulkhead.slot"
	PartParam = "bulkhead.part"
	// NetbootDir, in the initramfs of a network boot, holds what else a slot
	// needs.
	NetbootDir = Root + "/netboot"
)

// State: the partition labelled StateLabel, or a tmpfs, mounted on StateDir.
const (
	StateDir   = "/state"
	StateLabel = "RANCHER_STATE"
	// DataDir is where the partition labelled DataLabel is mounted, which holds
	// user Docker's data and people's files.
	DataDir   = "/data"
	DataLabel = "BULKHEAD_DATA"
	ConfDir   = "/var/lib/rancher/conf"
	// CloudConfig is the user's own file; CloudConfigDir/*.yml come before it.
	CloudConfig    = ConfDir + "/cloud-config.yml"
	CloudConfigDir = ConfDir + "/cloud-config.d"
	// LastGoodDir keeps copies of these files from when they were sound.
	LastGoodDir = ConfDir + "/last-good"
	// OEMDir holds what the maker of a machine adds, on a partition of its
	// own with the label OEMLabel; OEMConfig comes before all other
	// configuration.
	OEMLabel  = "RANCHER_OEM"
	OEMDir    = "/usr/share/ros/oem"
	OEMConfig = OEMDir + "/oem-config.yml"
	// UserData, UserScript and Metadata are what the cloud-init service made
	// of a source of user data. What else it stores in CloudConfigDir matches
	// BootParts; all of it comes before UserData. UserScripts holds the
	// scripts when there are several.
	Metadata    = ConfDir + "/metadata"
	UserData    = CloudConfigDir + "/boot.yml"
	BootParts   = CloudConfigDir + "/boot-[0-9]*.yml"
	UserScript  = ConfDir + "/cloud-config-script"
	UserScripts = ConfDir + "/cloud-config-scripts"
	// How often a script in UserScripts runs, by the end of its name. With
	// another end it is rancher.cloud_init.once that says so.
	EachBootSuffix        = ".boot"
	OncePerInstanceSuffix = ".instance"
	OnceEverSuffix        = ".once"
	// IncludeDir keeps what an #include-once of user data got.
	IncludeDir = ConfDir + "/include-once"
	// ServiceRecords is what people want of OS services (package control).
	ServiceRecords = ConfDir + "/services.json"
	// ServicesDir holds the files of services that ros service enable took in.
	ServicesDir = ConfDir + "/services"
	// CataloguesDir holds the catalogues that ros service refresh got.
	CataloguesDir = "/var/lib/rancher/cache/catalogues"
	// CommandsDone says which start commands need not run again.
	CommandsDone = ConfDir + "/commands-done.json"
	// PreloadDir is where people put archives of images, in a folder for each of
	// the two daemons. PreloadDisks is for what was loaded from disks.
	PreloadDir    = "/var/lib/rancher/preload"
	PreloadSystem = "system-docker"
	PreloadUser   = "docker"
	PreloadDisks  = PreloadDir + "/disks"
	// Upgrades is the history of the machine's systems (slots.History), and
	// BeforeUpgrade what the machine was like when it was upgraded
	// (trial.Before).
	Upgrades      = ConfDir + "/upgrades.jsonl"
	BeforeUpgrade = ConfDir + "/before-upgrade.json"
	// MachineID is what EtcDir's machine-id is made from.
	MachineID = ConfDir + "/machine-id"
	// LastTime was last written at a time that the clock may not begin before.
	LastTime = ConfDir + "/last-time"
	// LastTrim was last written when file systems gave their free space back.
	LastTrim = ConfDir + "/last-trim"
	// SSHKeyDir holds the SSH server's host keys.
	SSHKeyDir = ConfDir + "/ssh"
)

// Run-time files, all on tmpfs. Those that only say how far the boot is are in
// package milestone.
const (
	RunDir = "/run/bulkhead"
	// BootEvents gets one JSON line per finished boot step (package bootlog).
	BootEvents = RunDir + "/boot.jsonl"
	// BootReport is the finished report made from BootEvents.
	BootReport = RunDir + "/boot.json"
	// EtcDir holds the host's resolv.conf, hosts, hostname and machine-id. They are
	// bound into containers one by one: write them in place, never rename.
	EtcDir = RunDir + "/etc"
	// NetworkDir holds what DHCP and router advertisements said, by interface
	// and protocol; NTPDir the time servers among it, as chrony reads them.
	NetworkDir = RunDir + "/network"
	NTPDir     = RunDir + "/ntp"
	// NetworkProblems has a line for each part of rancher.network that has no
	// effect on this machine's hardware.
	NetworkProblems = NetworkDir + "/problems"
	// NetworkLinks has one line per interface that needs an address, with
	// the word dhcp behind those that ask for it. It is in the service's own
	// /run: a container that has not come so far has none, and is not healthy.
	NetworkLinks = "/run/links"
	// CertDir holds the certificate authorities of the configuration in
	// TrustedCerts, and the file OnlyTrusted when no others count. No service that
	// talks to the network may write to it.
	CertDir      = RunDir + "/certs"
	TrustedCerts = CertDir + "/trusted.pem"
	OnlyTrusted  = CertDir + "/only"
	// Proxies has the variables that tell System Docker about the
	// configuration's proxies, one NAME=VALUE a line; absent without any.
	Proxies = RunDir + "/proxies"
	// ShutdownTimeout has the seconds that all services may take to stop when
	// the machine goes down; absent when each has its own time only.
	ShutdownTimeout = RunDir + "/shutdown-timeout"
	// AppArmorParser is there once the kernel has AppArmorPolicy: a link from
	// /sbin/apparmor_parser, where daemons look before they confine containers, to
	// AppArmorNoParser, which tells people why they cannot compile profiles.
	AppArmorParser   = RunDir + "/apparmor_parser"
	AppArmorNoParser = "/usr/lib/bulkhead/apparmor_parser"
	// ServiceFiles holds the files of the configuration that are mounted into
	// containers of services, by service.
	ServiceFiles = RunDir + "/files"
	// ConfigProblems has one line per problem of the configuration; absent
	// when there is none. conffile.ProblemFile writes it.
	ConfigProblems = RunDir + "/config-problems"
	// UpgradeFailed says why the last upgrade failed; absent if it did not.
	UpgradeFailed = RunDir + "/upgrade-failed"
	// BootConfig has copies of the configuration's files as they were at boot,
	// AppliedConfig as they are in force since, TriedConfig as the last attempt
	// found them if it failed in part. Only root may read them.
	BootConfig    = RunDir + "/config/boot"
	AppliedConfig = RunDir + "/config/applied"
	TriedConfig   = RunDir + "/config/tried"
	// Sysctls are the settings that links and modules get when they come.
	Sysctls = RunDir + "/sysctls.json"
	// ControlSocket is where the orchestrator takes requests (package control). It
	// is outside of RunDir, which services have that are not to steer others.
	ControlSocket = "/run/orchestrator.sock"
	// PreloadProblems and a folder's name is the file with what is wrong with the
	// archives of the folder.
	PreloadProblems = "/run/orchestrator.preload-"
	// ServiceProblems is what services do, and what keeps them from running (control.Status).
	ServiceProblems = "/run/orchestrator.problems"
	// ShutdownSchedule is the end of the machine that is still to come
	// (power.Schedule).
	ShutdownSchedule = RunDir + "/shutdown-scheduled"
	// HostHostname is the host's /proc/sys/kernel/hostname in the containers that
	// set it: unlike sethostname(2) it takes no capability.
	HostHostname = "/run/host/hostname"
	// DHCPConfig is dhcpcd's configuration; absent while no interface uses DHCP.
	DHCPConfig = "/run/dhcpcd.conf"
	// SyslogSocket is where rsyslog listens; /dev/log links to it.
	SyslogDir    = "/run/syslog"
	SyslogSocket = SyslogDir + "/log"
)

// The system tier.
const (
	// SystemInit is argv[0] of PID 1: /init calls the engine by it, and programs
	// recognise PID 1 as ours by it.
	SystemInit             = "system-dockerd"
	SystemSocket           = "/run/system-docker.sock"
	SystemDataRoot         = "/var/lib/system-docker"
	SystemExecRoot         = "/run/system-docker"
	SystemContainerdRoot   = SystemDataRoot + "/containerd"
	SystemContainerdState  = SystemExecRoot + "/containerd"
	SystemContainerdSocket = SystemExecRoot + "/containerd.sock"
	// SystemContainerdReady leads to that socket once somebody listens there.
	SystemContainerdReady = SystemExecRoot + "/containerd-ready.sock"
	SystemDaemonConfig    = "/etc/docker/system-docker.json"
	SystemLog             = "/var/log/system-docker.log"
	// CgroupOptions are those of cgroup2: nobody changes the limits of the root of
	// their own cgroup namespace, and protection of memory holds for all below.
	CgroupOptions = "nsdelegate,memory_recursiveprot"
	// SystemCgroup is the OS tier: the parent of every OS service's cgroup and of
	// SystemEngineCgroup, where PID 1 is, and what it starts.
	SystemCgroup       = "/system"
	SystemEngineCgroup = SystemCgroup + "/engine"
	// UnpackCgroup is for processes that unpack archives of images.
	UnpackCgroup = SystemCgroup + "/unpack"
)

// The user tier.
const (
	// UserRunDir is bound into the docker container and the console; the
	// public socket path UserSocket is a link into it on both sides.
	UserRunDir = "/run/user-docker"
	// UserShmDir is what containers with the host's IPC namespace have as
	// /dev/shm: that of the user tier.
	UserShmDir   = UserRunDir + "/shm"
	UserSocket   = "/run/docker.sock"
	UserDataRoot = "/var/lib/user-docker"
	// ReserveID is the number of a user and of a group that no account has. An
	// ext file system keeps its reserve for them: OS services have the group.
	ReserveID = 2147483646
	// UserFailure says in one line which mistake of the user keeps user Docker
	// from starting; it is there only as long as that is so.
	UserFailure = UserRunDir + "/failure"
	// UserProblems has a line for each setting of user Docker that is left out;
	// absent without any.
	UserProblems = UserRunDir + "/problems"
	// UserEngines begins the names of the services that are further user
	// engines. What such a service has on the host is called like it: below
	// UserEngineRun its socket, UserEngineSocket, and below UserEngineRoot its
	// data and its settings.
	UserEngines      = "docker-"
	UserEngineRun    = "/run/"
	UserEngineSocket = "docker.sock"
	UserEngineRoot   = "/var/lib/user-"
	// HostNetwork is the machine's network namespace in the container of a
	// further user engine, which has one of its own.
	HostNetwork = "/run/host-network"
	// UserDaemonConfig is the user's daemon.json.
	UserDaemonConfig = "/etc/docker/daemon.json"
	// UserTier is the cgroup of all that people cause: engines, shims, containers,
	// proxies. It is the root of what the user tier sees of cgroups.
	UserTier = "/user-tier"
	// UserCgroup is the parent of user containers' cgroups and UserShimCgroup
	// holds their shims, so that both outlive the engine's container: below
	// UserTier for the first engine, below its own cgroup for a further one.
	UserCgroup     = "/containers"
	UserShimCgroup = "/shims"
	// UserTierHolder has the number of the process that holds the namespaces of
	// the user tier, and UserTierCgroups is one of them.
	UserTierHolder  = RunDir + "/user-tier.pid"
	UserTierCgroups = "/run/user-tier.cgroups"
	// UserTierSettings has what the configuration says of the user tier, one thing
	// a line: TierPorts and the ports that the OS keeps, TierOSDisks if the user tier
	// may use the disks of the OS, and files of its cgroup with their values.
	UserTierSettings = RunDir + "/user-tier.settings"
	TierPorts        = "ports"
	TierOSDisks      = "os-disks"
	// SwarmRefused is in what dockerd logs, and answers, when its settings do not
	// suit a swarm that somebody asks for.
	SwarmRefused = "is incompatible with swarm mode"
)
