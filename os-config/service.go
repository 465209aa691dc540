package osconfig

// A Service is a container in the notation of Compose: version 1, as
// RancherOS had it, and the keys of the Compose specification.
type Service struct {
	// Image to run.
	Image string `yaml:"image" eg:"nginx:1.29"`
	// Command instead of the image's.
	Command Words `yaml:"command" eg:"[nginx, -g, 'daemon off;']"`
	// Entry point instead of the image's.
	Entrypoint Words `yaml:"entrypoint" eg:"[/usr/bin/env]"`
	// Variables; one without value takes it from `rancher.environment`, `B*` all that begin with B.
	Environment Environment `yaml:"environment" eg:"{SITE: berlin}"`
	// Files with variables.
	EnvFile StringList `yaml:"env_file" eg:"/etc/web.env"`
	// Directories, `SOURCE:TARGET[:ro]`, or volumes.
	Volumes VolumeList `yaml:"volumes" eg:"['/opt/data:/usr/share/nginx/html:ro']"`
	// Containers whose volumes to share.
	VolumesFrom []string `yaml:"volumes_from" eg:"[all-volumes]"`
	// Driver of new volumes.
	VolumeDriver string `yaml:"volume_driver" eg:"local"`
	// Ports to publish.
	Ports PortList `yaml:"ports" eg:"['80:80', '127.0.0.1:53:53/udp']"`
	// Ports to show to other containers.
	Expose []string `yaml:"expose" eg:"['8080']"`
	// When to start it again: `no`, `always`, `unless-stopped`,
	// `on-failure[:COUNT]`.
	Restart RestartPolicy `yaml:"restart" def:"no" eg:"always"`
	// Give it all rights of root on the machine.
	Privileged bool `yaml:"privileged" eg:"true"`
	// Network: `bridge`, `host`, `none`, `container:NAME`.
	NetworkMode string `yaml:"network_mode" eg:"host"`
	// The same under its name of version 1.
	Net string `yaml:"net" eg:"host"`
	// Networks to join.
	Networks Names `yaml:"networks" origin:"Compose" eg:"[front]"`
	// Labels. `cron.schedule` starts it at times, in UTC.
	Labels Labels `yaml:"labels" eg:"{io.rancher.os.scope: system}"`
	// Services to start first.
	DependsOn Names `yaml:"depends_on" origin:"Compose" eg:"[db]"`
	// Containers to reach by name.
	Links []string `yaml:"links" eg:"['db:database']"`
	// Containers of others to reach by name.
	ExternalLinks []string `yaml:"external_links" eg:"[db]"`
	// Rights to add.
	CapAdd []string `yaml:"cap_add" eg:"[NET_ADMIN]"`
	// Rights to take away.
	CapDrop []string `yaml:"cap_drop" eg:"[ALL]"`
	// Options of security modules.
	SecurityOpt []string `yaml:"security_opt" eg:"['no-new-privileges:true']"`
	// Devices it may use.
	Devices []string `yaml:"devices" eg:"[/dev/ttyUSB0]"`
	// Rules for devices.
	DeviceCgroupRules []string `yaml:"device_cgroup_rules" origin:"Compose" eg:"['c 188:* rwm']"`
	// Name servers.
	DNS StringList `yaml:"dns" eg:"10.0.0.53"`
	// Options of the resolver.
	DNSOpt StringList `yaml:"dns_opt" origin:"Compose" eg:"['ndots:1']"`
	// Domains to look up short names in.
	DNSSearch StringList `yaml:"dns_search" eg:"example.org"`
	// Lines for /etc/hosts.
	ExtraHosts ExtraHosts `yaml:"extra_hosts" eg:"['db:10.0.0.5']"`
	// Name of the container's machine.
	Hostname Hostname `yaml:"hostname" eg:"web"`
	// Its domain.
	DomainName Hostname `yaml:"domainname" eg:"example.org"`
	// Hardware address.
	MacAddress string `yaml:"mac_address" eg:"52:54:00:12:34:56"`
	// Name of the container; else that of the service.
	ContainerName string `yaml:"container_name" eg:"web"`
	// User, or `USER:GROUP`.
	User string `yaml:"user" eg:"1000:1000"`
	// Further groups.
	GroupAdd []string `yaml:"group_add" origin:"Compose" eg:"['27']"`
	// Users as others on the host; `host` for none.
	UsernsMode string `yaml:"userns_mode" origin:"Compose" eg:"host"`
	// Directory to start in.
	WorkingDir string `yaml:"working_dir" eg:"/srv"`
	// Process numbers: `host` to see all.
	PID string `yaml:"pid" eg:"host"`
	// Shared memory: `host` to see all.
	IPC string `yaml:"ipc" eg:"host"`
	// Host name: `host` to have the machine's.
	UTS string `yaml:"uts" eg:"host"`
	// cgroups: `host` or `private`.
	Cgroup string `yaml:"cgroup" origin:"Compose" eg:"private"`
	// cgroup above the container's.
	CgroupParent string `yaml:"cgroup_parent" eg:"/user"`
	// Keep a reaper as the first process.
	Init bool `yaml:"init" origin:"Compose" eg:"true"`
	// Write nothing but volumes.
	ReadOnly bool `yaml:"read_only" eg:"true"`
	// Directories in RAM.
	Tmpfs StringList `yaml:"tmpfs" eg:"/run"`
	// Size of /dev/shm.
	ShmSize Size `yaml:"shm_size" eg:"64M"`
	// Most memory it may use.
	MemLimit Size `yaml:"mem_limit" eg:"512M"`
	// Memory it keeps when there is little.
	MemReservation Size `yaml:"mem_reservation" origin:"Compose" eg:"128M"`
	// Most memory and swap space it may use; -1 for any.
	MemswapLimit Size `yaml:"memswap_limit" eg:"1G"`
	// How readily it is swapped out, 0 to 100.
	MemSwappiness int `yaml:"mem_swappiness" eg:"10"`
	// Never end it when memory runs out.
	OOMKillDisable bool `yaml:"oom_kill_disable" eg:"true"`
	// How readily it is ended when memory runs out, -1000 to 1000.
	OOMScoreAdj Signed `yaml:"oom_score_adj" eg:"-500"`
	// Share of the processors among containers.
	CPUShares int `yaml:"cpu_shares" eg:"512"`
	// Processor time per `cpu_period`, in µs.
	CPUQuota Signed `yaml:"cpu_quota" eg:"50000"`
	// Period for `cpu_quota`, in µs.
	CPUPeriod int `yaml:"cpu_period" eg:"100000"`
	// Real-time period, in µs.
	CPURTPeriod int `yaml:"cpu_rt_period" origin:"Compose" eg:"100000"`
	// Real-time processor time, in µs.
	CPURTRuntime int `yaml:"cpu_rt_runtime" origin:"Compose" eg:"50000"`
	// How many processors it may use.
	CPUs Decimal `yaml:"cpus" origin:"Compose" eg:"1.5"`
	// Which processors it may use.
	CPUSet string `yaml:"cpuset" eg:"0-1"`
	// Most processes it may have; -1 for any.
	PidsLimit Signed `yaml:"pids_limit" origin:"Compose" eg:"200"`
	// Limits of processes.
	Ulimits map[string]Ulimit `yaml:"ulimits" eg:"{nofile: {soft: 1024, hard: 4096}}"`
	// Kernel settings of its own.
	Sysctls Labels `yaml:"sysctls" origin:"Compose" eg:"{net.core.somaxconn: 1024}"`
	// How disks are shared.
	BlkioConfig BlockIO `yaml:"blkio_config" origin:"Compose" eg:"{weight: 300}"`
	// How to tell that it is well.
	Healthcheck Healthcheck `yaml:"healthcheck" origin:"Compose" eg:"{test: curl -f http://localhost, interval: 30s}"`
	// Where its log goes.
	Logging Logging `yaml:"logging" origin:"Compose" eg:"{driver: local}"`
	// The same under its name of version 1.
	LogDriver string `yaml:"log_driver" eg:"local"`
	// Options of the log driver, under their name of version 1.
	LogOpt Labels `yaml:"log_opt" eg:"{max-size: 10m}"`
	// Signal that asks it to end.
	StopSignal string `yaml:"stop_signal" eg:"SIGINT"`
	// How long it may take to end.
	StopGracePeriod Duration `yaml:"stop_grace_period" origin:"Compose" eg:"1m30s"`
	// Keep its standard input open.
	StdinOpen bool `yaml:"stdin_open" eg:"true"`
	// Give it a terminal.
	TTY bool `yaml:"tty" eg:"true"`
	// Runtime other than runc.
	Runtime string `yaml:"runtime" origin:"Compose" eg:"runc"`
	// Processor and system to run the image of.
	Platform string `yaml:"platform" instead:"images are taken for the machine's own processor"`
	// When to pull the image.
	PullPolicy string `yaml:"pull_policy" origin:"Compose" eg:"missing"`
	// Options of the storage driver.
	StorageOpt Labels `yaml:"storage_opt" origin:"Compose" eg:"{size: 10G}"`
	// Isolation technology.
	Isolation string `yaml:"isolation" instead:"this concerns Windows only"`
	// Windows credentials.
	CredentialSpec Anything `yaml:"credential_spec" instead:"this concerns Windows only"`
	// How many processors, on Windows.
	CPUCount Anything `yaml:"cpu_count" instead:"use cpus"`
	// Part of the processors, on Windows.
	CPUPercent Anything `yaml:"cpu_percent" instead:"use cpus"`
	// How `ros service build` makes the image; a text is its `context`.
	Build Build `yaml:"build" eg:"/opt/web"`
	// Build the image with this file.
	Dockerfile string `yaml:"dockerfile" instead:"use build: {context: DIR, dockerfile: FILE}"`
	// Take settings from another service.
	Extends Anything `yaml:"extends" instead:"use YAML's anchors and <<"`
	// Files with labels.
	LabelFile Anything `yaml:"label_file" instead:"use labels"`
	// Annotations of the OCI runtime.
	Annotations Anything `yaml:"annotations" instead:"use labels"`
	// Show its output.
	Attach Anything `yaml:"attach" instead:"see docker logs"`
	// How it runs in a swarm.
	Deploy Anything `yaml:"deploy" instead:"use restart, mem_limit and cpus; for a swarm, docker stack deploy"`
	// Rebuild while developing.
	Develop Anything `yaml:"develop" instead:"use docker compose"`
	// Graphics processors.
	GPUs Anything `yaml:"gpus" instead:"use devices"`
	// Programs that serve it.
	Provider Anything `yaml:"provider" instead:"use docker compose"`
	// Models to run.
	Models Anything `yaml:"models" instead:"use docker compose"`
	// Files of the project.
	Configs Anything `yaml:"configs" instead:"use write_files and volumes"`
	// Secret files of the project.
	Secrets Anything `yaml:"secrets" instead:"use write_files with permissions 0600, and volumes"`
	// Groups of services to start.
	Profiles Anything `yaml:"profiles" instead:"leave out the service"`
	// How many of it.
	Scale Anything `yaml:"scale" instead:"give each a name of its own"`
	// Commands after its start.
	PostStart Anything `yaml:"post_start" instead:"use runcmd"`
	// Commands before its end.
	PreStop Anything `yaml:"pre_stop" instead:"handle the stop signal"`
	// Reach the engine's API.
	UseAPISocket Anything `yaml:"use_api_socket" instead:"use volumes: [/var/run/docker.sock:/var/run/docker.sock]"`
}

// A Build says how an image is made.
type Build struct {
	// Directory, or address of a repository, with what it is made of.
	Context BuildContext `yaml:"context" required:"true" eg:"/opt/web"`
	// File with the steps, in the directory; else Dockerfile.
	Dockerfile string `yaml:"dockerfile" eg:"Dockerfile.small"`
	// Values of its ARGs.
	Args Labels `yaml:"args" eg:"{VERSION: 1.2}"`
	// Stage to end with.
	Target string `yaml:"target" eg:"small"`
}

// A Ulimit is a limit of a process.
type Ulimit struct {
	// What a process begins with.
	Soft Signed `yaml:"soft" eg:"1024"`
	// What it may raise it to.
	Hard Signed `yaml:"hard" eg:"4096"`
}

// A Healthcheck reports whether a container is well.
type Healthcheck struct {
	// Command: a text for the shell, or a list that begins with CMD,
	// CMD-SHELL or NONE.
	Test HealthTest `yaml:"test" eg:"curl -f http://localhost"`
	// Time between two tests.
	Interval Duration `yaml:"interval" eg:"30s"`
	// Time a test may take.
	Timeout Duration `yaml:"timeout" eg:"5s"`
	// Failures in a row that make it ill.
	Retries int `yaml:"retries" eg:"3"`
	// Time for its start, in which failures do not count.
	StartPeriod Duration `yaml:"start_period" eg:"1m"`
	// Time between two tests in that time.
	StartInterval Duration `yaml:"start_interval" eg:"5s"`
	// Do without the test of the image.
	Disable bool `yaml:"disable" eg:"true"`
}

// BlockIO says how disks are shared among containers.
type BlockIO struct {
	// Share of the disks' time among containers, 10 to 1000.
	Weight int `yaml:"weight" eg:"300"`
	// Share of one disk.
	WeightDevice []DeviceWeight `yaml:"weight_device" eg:"[{path: /dev/vda, weight: 400}]"`
	// Bytes per second to read at most.
	DeviceReadBPS []DeviceBytes `yaml:"device_read_bps" eg:"[{path: /dev/vda, rate: 10M}]"`
	// Reads per second at most.
	DeviceReadIOPS []DeviceOperations `yaml:"device_read_iops" eg:"[{path: /dev/vda, rate: 120}]"`
	// Bytes per second to write at most.
	DeviceWriteBPS []DeviceBytes `yaml:"device_write_bps" eg:"[{path: /dev/vda, rate: 10M}]"`
	// Writes per second at most.
	DeviceWriteIOPS []DeviceOperations `yaml:"device_write_iops" eg:"[{path: /dev/vda, rate: 30}]"`
}

// A DeviceWeight is a share of a disk.
type DeviceWeight struct {
	// The disk.
	Path AbsPath `yaml:"path" required:"true" eg:"/dev/vda"`
	// Its weight.
	Weight int `yaml:"weight" eg:"400"`
}

// DeviceBytes is a limit in bytes per second.
type DeviceBytes struct {
	// The disk.
	Path AbsPath `yaml:"path" required:"true" eg:"/dev/vda"`
	// Bytes per second.
	Rate Size `yaml:"rate" eg:"10M"`
}

// DeviceOperations is a limit in operations per second.
type DeviceOperations struct {
	// The disk.
	Path AbsPath `yaml:"path" required:"true" eg:"/dev/vda"`
	// Operations per second.
	Rate int `yaml:"rate" eg:"120"`
}

// Logging says where the log of a container goes.
type Logging struct {
	// Log driver.
	Driver string `yaml:"driver" eg:"local"`
	// Its options.
	Options Labels `yaml:"options" eg:"{max-size: 10m}"`
}
