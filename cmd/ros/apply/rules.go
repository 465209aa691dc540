package apply

import (
	"reflect"
	"slices"

	"github.com/bulkhead-os/bulkhead/images"
	"github.com/bulkhead-os/bulkhead/images/console"
	osconfig "github.com/bulkhead-os/bulkhead/os-config"
)

// A Step is something to do, once however many keys ask for it.
type Step string

// The steps. Those of the console have the names that they have at boot.
const (
	Hostname     Step = "hostname"
	System       Step = "system"
	Kernel       Step = console.Kernel
	Certificates Step = console.Certificates
	Storage      Step = console.Storage
	Accounts     Step = console.Accounts
	Files        Step = console.WriteFiles
	Environment  Step = console.Environment
	SSH          Step = console.SSH
	Network      Step = "network"
	NTP          Step = "ntp"
	// RenewDocker restarts user Docker's daemon if it has other settings
	// than it should, RestartDocker the whole service.
	RenewDocker   Step = "renew-docker"
	RestartDocker Step = images.UserDocker
	Services      Step = "services"
)

// order is that of a boot.
var order = []Step{
	Hostname, System, Kernel, Certificates, Storage, Accounts, Files, Environment, SSH,
	Network, NTP, RestartDocker, RenewDocker, Services,
}

// service is what a step restarts.
func (s Step) service() string {
	if s == RenewDocker {
		return images.UserDocker
	}
	return string(s)
}

// A rule says what happens when a key, or one below it, changes: the rule with
// the longest key counts. With Restart the last step names the service that
// restarts.
type rule struct {
	key    string
	effect Effect
	reason string
	steps  []Step
}

const (
	live         = "user Docker's daemon restarts, containers keep running unless live-restore is off"
	startCommand = "it runs at the next boot"
	early        = "it is read before there is a configuration file: set it on the kernel command line"
)

// rules are by key: each key has one, or is below one that has.
// docs/config-behaviour.md has the same for people.
var rules = []rule{
	{"hostname", Now, "the machine takes the name; programs that run keep the one they read", []Step{Hostname}},
	{"fqdn", Now, "the machine takes the name; programs that run keep the one they read", []Step{Hostname}},
	{"prefer_fqdn_over_hostname", Now, "the machine takes the name; programs that run keep the one they read", []Step{Hostname}},
	{"preserve_hostname", Now, "it decides about the machine's name", []Step{Hostname}},
	{"manage_etc_hosts", Now, "/etc/hosts is written", []Step{Hostname}},
	{"timezone", Now, "programs that start from now on have it", []Step{System}},
	{"ntp", Restart, "the clock is kept meanwhile", []Step{System, NTP}},
	{"ca_certs", Restart, "the console trusts them at once; " + live, []Step{System, Certificates, RestartDocker}},

	{"rancher.shutdown_timeout", Now, "it counts for the next shutdown", []Step{System}},
	{"rancher.user_tier", Now, "limits change within ten seconds, containers keep running", []Step{System}},
	{"rancher.modules", Now, "modules are loaded", []Step{Kernel}},
	{"rancher.tmp_size", Now, "/tmp has the new size, if what it holds fits", []Step{Kernel}},
	{"rancher.sysctl", Now, "settings are written", []Step{Kernel}},

	{"disk_setup", Now, "a disk is partitioned if it may be", []Step{Storage}},
	{"fs_setup", Now, "file systems are made where there are none", []Step{Storage}},
	{"mounts", Now, "what is not mounted yet is mounted", []Step{Storage}},
	{"mount_default_fields", Now, "what is not mounted yet is mounted", []Step{Storage}},
	{"swap", Now, "the swap file is made and used", []Step{Storage}},
	{"growpart", Now, "partitions grow", []Step{Storage}},
	{"resize_rootfs", Now, "file systems grow", []Step{Storage}},
	{"rancher.resize_device", Now, "the partition grows", []Step{Storage}},

	{"users", Now, "accounts, sudo rules, passwords and keys are set", []Step{Accounts, SSH}},
	{"groups", Now, "groups and their members are added", []Step{Accounts}},
	{"password", Now, "the password is set", []Step{Accounts, SSH}},
	{"rancher.password", Now, "the password is set", []Step{Accounts, SSH}},
	{"chpasswd", Now, "passwords are set", []Step{Accounts, SSH}},
	{"ssh_authorized_keys", Now, "the keys count from the next login on", []Step{Accounts}},
	{"ssh_pwauth", Now, "it counts from the next login on", []Step{SSH}},
	{"rancher.disable", Now, "it counts from the next login on", []Step{Accounts, SSH}},
	{"ssh_genkeytypes", Now, "the SSH server shows them from the next connection on", []Step{SSH}},
	{"ssh_keys", Now, "the SSH server shows them from the next connection on", []Step{SSH}},
	{"rancher.ssh", Now, "the SSH server reads its configuration again, sessions stay", []Step{SSH}},
	{"rancher.ssh.daemon", Reboot, "the console starts the SSH server when it starts itself", nil},
	{"rancher.console", Later, "the next boot has it; ros console switch changes it at once", nil},
	{"rancher.autologin", Reboot, "login prompts are made when the console starts", nil},

	{"write_files", Now, "files of new and changed entries are written", []Step{Files}},

	{"rancher.network", Restart, "what stays the same is not touched", []Step{Network}},
	{"rancher.network.http_proxy", Restart, live, []Step{Environment, SSH, RenewDocker}},
	{"rancher.network.https_proxy", Restart, live, []Step{Environment, SSH, RenewDocker}},
	{"rancher.network.no_proxy", Restart, live, []Step{Environment, SSH, RenewDocker}},

	{"rancher.docker", Restart, live, []Step{RenewDocker}},
	{"rancher.docker.ca_cert", Restart, live, []Step{RestartDocker}},
	{"rancher.docker.server_cert", Restart, live, []Step{RestartDocker}},
	{"rancher.docker.server_key", Restart, live, []Step{RestartDocker}},

	{"rancher.services", Now, "containers whose entry changed are recreated, those without an entry removed", []Step{Services}},
	{"rancher.services_include", Now, "services that it switches on run, those that it switches off stop", []Step{Services}},
	{"rancher.environment", Now, "services that use the values are recreated", []Step{Services}},
	{"rancher.registry_auths", Now, "services that wait for an image try again", []Step{Services}},

	{"bootcmd", Later, startCommand, nil},
	{"runcmd", Later, startCommand, nil},
	{"final_message", Later, "it is shown at the next boot", nil},
	{"power_state", Later, "it is done after the next boot", nil},
	{"rancher.cloud_init", Later, "user data is looked for at the next boot", nil},
	{"rancher.upgrade", Later, "the next upgrade, and its trial, go by it", nil},
	{"rancher.debug", Later, "the early boot reads it from the kernel command line only", nil},
	{"rancher.preload_wait", Later, "images are preloaded at the next boot", nil},
	{"rancher.restart_services", Later, "services restart at the next boot", nil},
	{"rancher.repositories", Later, "the next ros service refresh downloads them", nil},
	{"ssh_deletekeys", Later, "it counts when the disk boots as another instance", nil},

	{"rancher.state", Reboot, early, nil},
	{"rancher.recovery", Reboot, early, nil},
	{"rancher.system_docker", Reboot, "the daemon starts with the machine", nil},
	{"rancher.install", Reboot, "a medium installs when it has booted", nil},
}

// A leftover is something that a machine keeps until it is restarted although
// the configuration wants it no more.
type leftover struct {
	key, reason string
	left        func(old, wanted osconfig.Config) bool
}

var leftovers = []leftover{
	{"rancher.sysctl", "settings that are taken away keep their value", func(old, wanted osconfig.Config) bool {
		for name := range old.Rancher.Sysctl {
			if _, has := wanted.Rancher.Sysctl[name]; !has {
				return true
			}
		}
		return false
	}},
	{"rancher.modules", "modules that are taken away stay loaded", func(old, wanted osconfig.Config) bool {
		return missing(old.Rancher.Modules, wanted.Rancher.Modules)
	}},
	{"mounts", "what is mounted stays as it is", func(old, wanted osconfig.Config) bool {
		return missing(old.Mounts, wanted.Mounts) ||
			len(old.Mounts) > 0 && !reflect.DeepEqual(old.MountDefaults, wanted.MountDefaults)
	}},
	{"swap", "a swap file stays in use", func(old, wanted osconfig.Config) bool {
		return old.Swap != (osconfig.Swap{}) && old.Swap != wanted.Swap
	}},
	{"users", "accounts stay, without keys and password, and so do their groups", func(old, wanted osconfig.Config) bool {
		return slices.ContainsFunc(old.Users, func(o osconfig.User) bool {
			i := slices.IndexFunc(wanted.Users, func(u osconfig.User) bool { return u.Name == o.Name })
			return i < 0 || missing(o.Groups, wanted.Users[i].Groups)
		})
	}},
	{"groups", "groups and members that are taken away stay", func(old, wanted osconfig.Config) bool {
		return slices.ContainsFunc(old.Groups, func(o osconfig.Group) bool {
			i := slices.IndexFunc(wanted.Groups, func(g osconfig.Group) bool { return g.Name == o.Name })
			return i < 0 || missing(o.Members, wanted.Groups[i].Members)
		})
	}},
	{"rancher.disable", "login prompts are made when the console starts", func(old, wanted osconfig.Config) bool {
		const way = "autologin"
		return slices.Contains(old.Rancher.Disable, way) != slices.Contains(wanted.Rancher.Disable, way)
	}},
}

// missing reports whether an old list has what a new one has not.
func missing[T comparable](old, wanted []T) bool {
	return slices.ContainsFunc(old, func(o T) bool { return !slices.Contains(wanted, o) })
}
