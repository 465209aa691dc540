package osconfig

// Engine configures the user Docker. What is not here goes into
// /etc/docker/daemon.json.
type Engine struct {
	// Version of the engine.
	Engine string `yaml:"engine" eg:"docker-29.0.0"`
	// Sockets it listens on in addition to its own.
	Host []string `yaml:"host" eg:"['unix:///var/run/docker.sock']"`
	// Group that may use the socket.
	Group string `yaml:"group" def:"docker" eg:"docker"`
	// Directory of images and containers.
	DataRoot string `yaml:"data_root" alias:"graph" eg:"/var/lib/docker"`
	// Directory of what lasts while it runs.
	ExecRoot string `yaml:"exec_root" instead:"it lies in RAM where the system expects it"`
	// File with its process number.
	PIDFile string `yaml:"pid_file" instead:"it lies in RAM where the system expects it"`
	// Its daemon.json.
	ConfigFile string `yaml:"config_file" eg:"/etc/docker/daemon.json"`
	// How images are stored.
	StorageDriver string `yaml:"storage_driver" eg:"overlay2"`
	// Bridge to attach containers to.
	Bridge string `yaml:"bridge" eg:"br0"`
	// Address and network of the bridge.
	BIP CIDR `yaml:"bip" eg:"172.18.42.1/16"`
	// Where logs of containers go.
	LogDriver string `yaml:"log_driver" eg:"syslog"`
	// Options of the log driver.
	LogOpts map[string]string `yaml:"log_opts" eg:"{max-size: 25m, max-file: '2'}"`
	// Restart containers when the daemon starts.
	Restart bool `yaml:"restart" instead:"give each container a restart policy"`
	// Publish ports through a process instead of the kernel alone.
	UserlandProxy Toggle `yaml:"userland_proxy" eg:"false"`
	// Keep containers running while the daemon restarts.
	LiveRestore Toggle `yaml:"live_restore" def:"true" eg:"false"`
	// Log more.
	Debug bool `yaml:"debug" eg:"true"`
	// Use SELinux.
	SELinuxEnabled bool `yaml:"selinux_enabled" instead:"containers are confined by AppArmor, seccomp and capabilities"`
	// Socket of containerd.
	Containerd string `yaml:"containerd" instead:"the engine brings its own containerd"`
	// Copy of the public registry to ask first.
	RegistryMirror URL `yaml:"registry_mirror" eg:"https://registry.example.org"`
	// Registries that need no valid certificate.
	InsecureRegistry []string `yaml:"insecure_registry" eg:"['10.0.0.5:5000']"`
	// Further arguments of dockerd.
	ExtraArgs []string `yaml:"extra_args" eg:"[--default-ulimit, 'nofile=1024:4096']"`
	// Environment of the daemon.
	Environment []string `yaml:"environment" eg:"[HTTP_PROXY=http://proxy.example.org:3128]"`
	// Listen with TLS, for clients with a certificate.
	TLS bool `yaml:"tls" eg:"true"`
	// Arguments of dockerd when `tls` is set.
	TLSArgs []string `yaml:"tls_args" eg:"[--tlsverify, '-H=0.0.0.0:2376']"`
	// Certificate of the authority whose clients may connect.
	CACert string `yaml:"ca_cert" eg:"'-----BEGIN CERTIFICATE-----…'"`
	// Its key. Keep it elsewhere.
	CAKey Secret `yaml:"ca_key" eg:"'-----BEGIN PRIVATE KEY-----…'"`
	// Certificate of the daemon.
	ServerCert string `yaml:"server_cert" eg:"'-----BEGIN CERTIFICATE-----…'"`
	// Its key.
	ServerKey Secret `yaml:"server_key" eg:"'-----BEGIN PRIVATE KEY-----…'"`
	// Container whose mounts the engine sees.
	StorageContext string `yaml:"storage_context" instead:"the engine has a container of its own and sees the host's directories"`
	// Run containers' root as another user of the host.
	UsernsEnabled bool `yaml:"userns_enabled" eg:"true"`
	// Replace process 1.
	Exec bool `yaml:"exec" instead:"this concerned the system Docker only, which always is process 1"`
}

// SystemEngine configures the system Docker. Most of it is fixed; a mistake in
// it would take the machine down.
type SystemEngine struct {
	// Log more.
	Debug bool `yaml:"debug" instead:"set debug in /etc/docker/system-docker.json"`
	// Where logs of OS services go.
	LogDriver string `yaml:"log_driver" instead:"set log-driver in /etc/docker/system-docker.json"`
	// Options of the log driver.
	LogOpts map[string]string `yaml:"log_opts" instead:"set log-opts in /etc/docker/system-docker.json"`
	// Copy of the public registry to ask first.
	RegistryMirror URL `yaml:"registry_mirror" instead:"set registry-mirrors in /etc/docker/system-docker.json"`
	// Registries that need no valid certificate.
	InsecureRegistry []string `yaml:"insecure_registry" instead:"set insecure-registries in /etc/docker/system-docker.json"`
	// Sockets it listens on.
	Host []string `yaml:"host" instead:"it listens on /run/system-docker.sock"`
	// Group that may use the socket.
	Group string `yaml:"group" instead:"only root may use it"`
	// Directory of images and containers.
	DataRoot string `yaml:"data_root" alias:"graph" instead:"it is /var/lib/system-docker"`
	// Directory of what lasts while it runs.
	ExecRoot string `yaml:"exec_root" instead:"it is /run/system-docker"`
	// File with its process number.
	PIDFile string `yaml:"pid_file" instead:"it is process 1"`
	// Its configuration.
	ConfigFile string `yaml:"config_file" instead:"it is /etc/docker/system-docker.json"`
	// How images are stored.
	StorageDriver string `yaml:"storage_driver" instead:"it is overlayfs, so that system images need no unpacking"`
	// Bridge to attach containers to.
	Bridge string `yaml:"bridge" instead:"OS services use the host's network or none"`
	// Address and network of the bridge.
	BIP CIDR `yaml:"bip" instead:"OS services use the host's network or none"`
	// Restart containers when the daemon starts.
	Restart bool `yaml:"restart" instead:"the orchestrator restarts OS services"`
	// Publish ports through a process instead of the kernel alone.
	UserlandProxy bool `yaml:"userland_proxy" instead:"OS services publish no ports"`
	// Keep containers running while the daemon restarts.
	LiveRestore bool `yaml:"live_restore" instead:"it is process 1 and does not restart"`
	// Use SELinux.
	SELinuxEnabled bool `yaml:"selinux_enabled" instead:"containers are confined by AppArmor, seccomp and capabilities"`
	// Socket of containerd.
	Containerd string `yaml:"containerd" instead:"it starts its own containerd"`
	// Further arguments of dockerd.
	ExtraArgs []string `yaml:"extra_args" instead:"use /etc/docker/system-docker.json"`
	// Environment of the daemon.
	Environment []string `yaml:"environment" instead:"set proxies under rancher.network"`
	// Listen with TLS.
	TLS bool `yaml:"tls" instead:"it listens on its own socket only; reach it through ssh"`
	// Arguments of dockerd when `tls` is set.
	TLSArgs []string `yaml:"tls_args" instead:"it listens on its own socket only; reach it through ssh"`
	// Container whose mounts the engine sees.
	StorageContext string `yaml:"storage_context" instead:"it sees the host's directories"`
	// Replace process 1.
	Exec bool `yaml:"exec" instead:"it always is process 1"`
}
