package osconfig

import (
	"path"
	"slices"
	"strings"
)

// unread are the files of programs that are not here, or have their settings
// from elsewhere: nothing reads them. A path that ends with / is for all below it.
var unread = []struct {
	paths   []string
	instead string
}{
	{[]string{"/etc/ntp.conf", "/etc/ntpsec/", "/etc/openntpd/", "/etc/systemd/timesyncd.conf", "/etc/systemd/timesyncd.conf.d/"}, "chrony keeps the time here; use ntp.servers"},
	{[]string{"/etc/crontab", "/etc/cron.d/", "/etc/cron.hourly/", "/etc/cron.daily/", "/etc/cron.weekly/", "/etc/cron.monthly/", "/var/spool/cron/"}, "there is no cron; use a service with the label cron.schedule"},
	{[]string{"/etc/systemd/network/", "/etc/netplan/", "/etc/network/", "/etc/dhcpcd.conf", "/etc/dhcp/", "/etc/NetworkManager/", "/etc/sysconfig/network-scripts/", "/etc/sysconfig/network"}, "use rancher.network"},
	{[]string{"/etc/resolv.conf", "/etc/systemd/resolved.conf", "/etc/systemd/resolved.conf.d/", "/etc/resolvconf/"}, "use rancher.network.dns"},
	{[]string{"/etc/systemd/system/docker.service.d/", "/etc/default/docker", "/etc/sysconfig/docker", "/etc/containerd/"}, "use rancher.docker, or /etc/docker/daemon.json"},
	{[]string{"/etc/systemd/journald.conf", "/etc/systemd/journald.conf.d/"}, "there is no journal; syslog keeps logs in /var/log"},
	{[]string{"/etc/systemd/", "/lib/systemd/", "/usr/lib/systemd/", "/usr/local/lib/systemd/"}, "there is no systemd; use rancher.services, or runcmd"},
	{[]string{"/etc/init.d/", "/etc/init/", "/etc/rcS.d/", "/etc/inittab"}, "use rancher.services, runcmd or /etc/rc.local"},
	{[]string{"/etc/fstab"}, "use mounts"},
	{[]string{"/etc/sysctl.conf", "/etc/sysctl.d/"}, "use rancher.sysctl"},
	{[]string{"/etc/modules", "/etc/modules-load.d/"}, "use rancher.modules"},
	{[]string{"/etc/iptables/", "/etc/nftables.conf", "/etc/nftables.d/", "/etc/ufw/", "/etc/firewalld/"}, "use rancher.network.firewall, or runcmd with nft"},
	{[]string{"/etc/default/grub", "/etc/default/grub.d/", "/boot/grub/"}, "kernel parameters are set in the boot menu"},
}

// insteadOf returns what to use in place of a file that nothing reads, or "".
func insteadOf(file string) string {
	file = path.Clean(file)
	for _, u := range unread {
		if slices.ContainsFunc(u.paths, func(p string) bool { return file == p || strings.HasSuffix(p, "/") && strings.HasPrefix(file, p) }) {
			return u.instead
		}
	}
	return ""
}

// belongs says which service a program runs in that is not in the console, by
// how the paths of its files begin.
var belongs = []struct{ below, service string }{
	{"/etc/rsyslog", "syslog"},
	{"/etc/chrony/", "ntp"},
}

// doubtful implements doubted.
func (f *File) doubtful() (field, text string) {
	switch f.Container {
	case "ntp":
		if path.Base(string(f.Path)) == "ntp.conf" {
			return "path", "nothing reads this file: " + insteadOf("/etc/ntp.conf")
		}
	case "console":
		if why := insteadOf(string(f.Path)); why != "" {
			return "path", "nothing reads this file: " + why
		}
		for _, b := range belongs {
			if strings.HasPrefix(string(f.Path), b.below) {
				return "container", "the program that reads this file runs in another service: container: " + b.service
			}
		}
	}
	return "", ""
}
