package osconfig

// notYet are keys, by type, that are understood but have no effect in this
// version. The change that gives a key its effect removes it here.
func notYet(typeAndKey string) bool {
	switch typeAndKey {
	case "Upgrade.policy":
		return true
	}
	return false
}

// instead returns what to do in the place of a top-level key that other
// systems have and this one never will, or "".
func instead(key string) string {
	const (
		packages = "there is no package manager for the system; run programs as containers, or install them in the console with runcmd"
		agent    = "run the agent as a container under rancher.services"
		modules  = "the order in which things happen is fixed"
	)
	switch key {
	case "packages", "package_update", "package_upgrade", "package_reboot_if_required", "apt", "apt_sources", "apt_mirror",
		"apt_proxy", "apt_update", "apt_upgrade", "apt_reboot_if_required", "apt_preserve_sources_list", "apt_pipelining",
		"yum_repos", "yum_repo_dir", "zypper", "apk_repos", "snap", "snappy", "ubuntu_advantage", "ubuntu_pro", "fan", "byobu_by_default":
		return packages
	case "ansible", "chef", "puppet", "salt_minion", "mcollective", "landscape", "rh_subscription", "spacewalk":
		return agent
	case "cloud_init_modules", "cloud_config_modules", "cloud_final_modules", "system_info", "datasource", "datasource_list":
		return modules + "; see rancher.cloud_init for where user data comes from"
	case "merge_how", "merge_type":
		return "maps are merged key by key, lists are replaced"
	case "network":
		return "use rancher.network, or network-config on the configuration disk"
	case "user":
		return "use users, with the name default or rancher for the system's own account"
	case "ssh":
		return "host keys are shown on the consoles"
	case "ssh_import_id":
		return "put the keys into ssh_authorized_keys"
	case "disable_root_opts", "allow_public_ssh_keys":
		return "root cannot log in over SSH; use sudo"
	case "ssh_publish_hostkeys", "no_ssh_fingerprints", "ssh_fp_console_blacklist", "ssh_key_console_blacklist", "ssh_quiet_keygen":
		return "fingerprints of host keys are shown on the consoles"
	case "lxd":
		return "run containers under rancher.services"
	case "wireguard":
		return "use rancher.network.interfaces.wg0.wireguard"
	case "rsyslog":
		return "use write_files with container: syslog, and /etc/rsyslog.d/"
	case "random_seed":
		return "the kernel seeds itself from hardware"
	case "keyboard":
		return "the local console has the US layout; over SSH your own keyboard's counts"
	case "phone_home":
		return "use curl in runcmd"
	case "output":
		return "output of runcmd is in /var/log/runcmd.log, that of services in system-docker logs"
	case "reporting", "vendor_data", "drivers", "autoinstall", "identity", "storage", "late-commands", "early-commands":
		return "leave it out"
	case "rancher.docker.args":
		return "use rancher.docker.extra_args"
	case "authkey_hash":
		return "fingerprints of login keys are not shown"
	case "create_hostname_file":
		return "the host name is set at each boot, from the configuration"
	case "device_aliases":
		return "name the devices themselves in disk_setup, fs_setup and mounts"
	case "disable_ec2_metadata":
		return "use rancher.network.post_cmds: ip route add blackhole 169.254.169.254"
	case "grub_dpkg", "grub-dpkg", "rpi":
		return "how the machine boots is part of the OS"
	case "launch-index":
		return "each machine takes all of its user data"
	case "locale_configfile", "migrate", "version":
		return "leave it out"
	case "manage_resolv_conf", "resolv_conf":
		return "use rancher.network.dns"
	case "coreos":
		return "use rancher.services for units, and rancher.network"
	case "updates":
		return "configuration is read at each boot"
	}
	return ""
}
