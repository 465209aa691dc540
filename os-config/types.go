package osconfig

// The types of a configuration. They are the one source of what is parsed and
// checked, of docs/config.md and schema.json, and of what `ros config` offers:
//
//	yaml      the key
//	alias     an older name of the key, still understood
//	eg        an example value, in YAML
//	def       the default, where Defaults does not say it
//	origin    who had the key first, for it and all below it; else RancherOS
//	required  the list item is nothing without it
//	instead   the key does nothing (any more); what to use instead
//
// The comments above the fields are the documentation: write them for people
// who configure machines. After a change run go generate.

//go:generate go test -run TestGenerated -update .

// Config is a machine's whole configuration.
type Config struct {
	// Name of the machine, with or without domain. Without one: that of the
	// metadata, else what DHCP gives, else `bulkhead`.
	Hostname Hostname `yaml:"hostname" eg:"web1"`
	// Full name of the machine, with its domain.
	FQDN Hostname `yaml:"fqdn" origin:"cloud-init" eg:"web1.example.org"`
	// Call the machine by `fqdn` rather than by `hostname` when both are given.
	PreferFQDN bool `yaml:"prefer_fqdn_over_hostname" origin:"cloud-init" eg:"true"`
	// Leave the name alone that the machine has already.
	PreserveHostname bool `yaml:"preserve_hostname" origin:"cloud-init" eg:"true"`
	// What to do with /etc/hosts: `true` and `localhost` write the machine's
	// name into it, `false` leaves it as a `write_files` entry made it.
	ManageEtcHosts EtcHosts `yaml:"manage_etc_hosts" origin:"cloud-init" def:"true" eg:"false"`

	// Who may log in as `rancher`. At each boot brought into
	// ~rancher/.ssh/authorized_keys, whose other lines stay. Keys of the
	// metadata are added.
	SSHAuthorizedKeys KeyList `yaml:"ssh_authorized_keys" alias:"ssh-authorized-keys" eg:"[ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE1WvrLH3EyZ1Q5W7UYdR4yQw8v9F1s0T2m3c4b5a6d7 me@desk]"`
	// Files to write before anyone can log in.
	WriteFiles []File `yaml:"write_files" eg:"[{path: /etc/motd, content: hello}]"`
	// Commands to run as root once per boot, in order, when user Docker
	// answers with all of the configuration. A text goes to the shell, a list
	// is run as it is. Output in /var/log/runcmd.log.
	RunCmd []Command `yaml:"runcmd" eg:"[docker network create front, [mkdir, -p, /opt/data]]"`
	// Commands to run as root at each boot, before files are written and
	// before anything is mounted; written as in `runcmd`.
	BootCmd []Command `yaml:"bootcmd" eg:"[echo booting > /dev/kmsg]"`
	// File systems to mount, each a list of up to six fields as in fstab:
	// device, path, type, options, dump, pass. Type `swap` uses the device as
	// swap space.
	Mounts []Mount `yaml:"mounts" eg:"[[LABEL=data, /mnt/data, ext4, 'noatime,nofail']]"`
	// Values for the fields that an entry of `mounts` leaves out.
	MountDefaults MountFields `yaml:"mount_default_fields" origin:"cloud-init" def:"[null, null, auto, 'defaults,nofail', '0', '2']" eg:"[null, null, ext4, noatime]"`

	// Accounts in addition to `rancher`. The name `default` in the list stands for
	// `rancher` itself; an entry with name `rancher` changes it.
	Users UserList `yaml:"users" origin:"cloud-init" eg:"[default, {name: anna, groups: [docker, sudo], shell: /bin/bash}]"`
	// Groups to make, with or without members.
	Groups GroupList `yaml:"groups" origin:"cloud-init" eg:"[admins, {ops: [anna, rancher]}]"`
	// Password of `rancher`, in clear or as crypt(5) has it.
	Password Secret `yaml:"password" origin:"cloud-init" eg:"correct horse"`
	// Passwords of accounts.
	Chpasswd Chpasswd `yaml:"chpasswd" origin:"cloud-init"`
	// Whether SSH lets passwords in. `unchanged` or none: only if a password
	// is configured.
	SSHPasswordAuth Toggle `yaml:"ssh_pwauth" origin:"cloud-init" def:"unchanged" eg:"false"`
	// Let nobody log in as root over SSH.
	DisableRoot bool `yaml:"disable_root" origin:"cloud-init" instead:"root cannot log in over SSH; use sudo"`
	// Host keys of the SSH server, instead of generated ones.
	SSHKeys HostKeys `yaml:"ssh_keys" origin:"cloud-init"`
	// Make new host keys when the machine's instance ID changes, as after
	// cloning its disk.
	SSHDeleteKeys bool `yaml:"ssh_deletekeys" origin:"cloud-init" eg:"false"`
	// Kinds of host keys to make and use when there are none of the
	// configuration.
	SSHGenKeyTypes []HostKeyType `yaml:"ssh_genkeytypes" origin:"cloud-init" def:"[ed25519]" eg:"[ed25519, rsa]"`

	// Time zone of the console, of start commands, and of /etc/localtime in
	// containers that mount it.
	Timezone Timezone `yaml:"timezone" origin:"cloud-init" def:"UTC" eg:"Europe/Berlin"`
	// Language of messages.
	Locale string `yaml:"locale" origin:"cloud-init" instead:"the system has only C.UTF-8; set LANG inside the container that needs it" eg:"en_US.UTF-8"`
	// Where the time comes from.
	NTP NTP `yaml:"ntp" origin:"cloud-init"`
	// Certificate authorities to trust, in addition to or instead of the usual ones.
	CACerts CACerts `yaml:"ca_certs" alias:"ca-certs" origin:"cloud-init"`

	// Which partitions grow to the size of their disk.
	GrowPart GrowPart `yaml:"growpart" origin:"cloud-init"`
	// Whether file systems grow with their partition; `noblock` in the background.
	ResizeRootFS ResizeRootFS `yaml:"resize_rootfs" origin:"cloud-init" def:"true" eg:"noblock"`
	// Partition tables to write, by device. A disk that has one is left
	// alone unless `overwrite` is set.
	DiskSetup DiskSetups `yaml:"disk_setup" origin:"cloud-init" eg:"{/dev/vdb: {table_type: gpt, layout: true}}"`
	// File systems to make. A device that has one is left alone unless
	// `overwrite` is set.
	FSSetup []FSSetup `yaml:"fs_setup" origin:"cloud-init" eg:"[{device: /dev/vdb, partition: 1, filesystem: ext4, label: data}]"`
	// A swap file to make and use.
	Swap Swap `yaml:"swap" origin:"cloud-init"`

	// Line to write to the consoles when the machine is configured.
	FinalMessage string `yaml:"final_message" origin:"cloud-init" eg:"configured after $UPTIME s"`
	// Switch the machine off or restart it once it is configured, the first
	// time an instance boots.
	PowerState PowerState `yaml:"power_state" origin:"cloud-init"`

	// What is particular to this system.
	Rancher Rancher `yaml:"rancher"`
}

// A File is an entry of write_files.
type File struct {
	// Directories above it are made.
	Path AbsPath `yaml:"path" required:"true" eg:"/etc/motd"`
	// What to write.
	Content string `yaml:"content" eg:"hello"`
	// How `content` is written.
	Encoding Encoding `yaml:"encoding" def:"text/plain" eg:"gz+b64"`
	// `user`, `user:group` or numbers instead of names.
	Owner Owner `yaml:"owner" eg:"rancher:docker"`
	// Octal permissions.
	Permissions Mode `yaml:"permissions" eg:"'0600'"`
	// The OS service whose files it belongs to, which restarts when the
	// file has changed. Directories that the console shares with the host
	// (/etc/docker, /home, /root, /srv, /data, /opt, /usr/local, /var/log,
	// /var/lib/rancher, /var/tmp, /mnt, /media)
	// keep their files.
	Container string `yaml:"container" eg:"ntp"`
	// Add to the end of the file instead of replacing it.
	Append bool `yaml:"append" origin:"cloud-init" eg:"true"`
	// Write it after accounts are made; all files are.
	Defer bool `yaml:"defer" origin:"cloud-init" eg:"true"`
	// Where to fetch the content from.
	Source Anything `yaml:"source" origin:"cloud-init" instead:"fetch the file in runcmd, or put it into content" eg:"{uri: https://example.org/motd}"`
}

func (f *File) setDefaults() {
	f.Owner = "root"
	f.Permissions = 0o644
	f.Container = "console"
}
