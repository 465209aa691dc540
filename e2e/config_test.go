package e2e

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-os/bulkhead/e2e/qemutest"
)

// richConfig is one of everything. It is appended to the seed's own lines.
const richConfig = `
fqdn: ship.example.org
groups: [crew, {ops: [rancher]}]
users:
- default
- name: anna
  gecos: Anna Example
  groups: [docker, crew, made-on-the-way]
  sudo: ALL=(ALL) NOPASSWD:ALL
  passwd: HASH
  lock_passwd: false
- {name: bob, uid: 2000, groups: docker, shell: /bin/sh, ssh_authorized_keys: ['KEY']}
- {name: carl, passwd: HASH}
- {name: dora, plain_text_passwd: battery staple, lock_passwd: false, homedir: /opt/dora}
- {name: robot, system: true}
timezone: Europe/Berlin
ntp: {servers: [10.0.2.2], pools: []}
ca_certs: {trusted: ["CERTIFICATE"]}
disk_setup:
  /dev/vdb: {table_type: gpt, layout: [50, [20, 82], 30]}
fs_setup:
- {device: /dev/vdb, partition: 1, filesystem: ext4, label: data}
- {device: /dev/vdb, partition: 2, filesystem: swap}
- {device: /dev/vdb, partition: 3, filesystem: xfs, label: logs}
mounts:
- [LABEL=data, /mnt/data, ext4, "noatime,nofail"]
- [LABEL=logs, /mnt/logs]
- [vdb2, none, swap, sw, "0", "0"]
- [tmpfs, /mnt/ram, tmpfs, "size=8m"]
- [/mnt/data, /home/cargo, "", bind]
- [LABEL=nowhere, /mnt/nowhere]
swap: {filename: /swap.img, size: 64M}
write_files:
- {path: /mnt/data/hold, content: tea, owner: "anna:crew", permissions: "0640"}
- {path: /etc/motd, content: "extra line\n", append: true}
- {path: /etc/docker/daemon.json, content: '{"labels": ["ship=bulkhead"]}'}
- {path: /test, content: console}
- {path: /test, content: ntp, container: ntp, permissions: "0600"}
- {path: /test, content: syslog, container: syslog}
- {path: /etc/rsyslog.d/e2e.conf, content: "local7.* /var/log/e2e.log\n", container: syslog}
- {path: /opt/rancher/bin/start.sh, content: "echo start.sh >> /run/starts\n", permissions: "0755"}
- {path: /etc/rc.local, content: "#!/bin/sh\necho rc.local >> /run/starts\n", permissions: "0755"}
- {path: /var/lib/rancher/conf/cloud-config-script, content: "#!/bin/bash\necho script >> /run/starts\n", permissions: "0755"}
bootcmd:
- "echo $HOME > /run/bootcmd-ran"
runcmd:
- "docker info -f '{{.ServerVersion}}' > /run/runcmd-ran"
- [sh, -c, 'echo "$https_proxy" > /run/runcmd-proxy']
- ""
- []
- echo "runcmd as text" >> /run/starts
- [sh, -c, 'echo "runcmd as list" >> /run/starts']
- tar -c -C / usr/bin/tini-static | docker import - started:e2e && docker run --rm started:e2e /usr/bin/tini-static --version > /run/runcmd-docker
final_message: "configured, up $UPTIME s"
power_state: {mode: poweroff, condition: [test, -e, /nonexistent]}
rancher:
  sysctl: {net.core.somaxconn: 4099, vm.swappiness: 7}
  restart_services: [acpid]
  modules: [dummy numdummies=2]
  network: {https_proxy: "http://proxy.example.org:3128", no_proxy: "localhost,10.0.0.0/8"}
`

// oemConfig is what the maker of the machine adds: richConfig has another
// vm.swappiness.
const oemConfig = `
rancher:
  sysctl: {kernel.domainname: oem.example.org, vm.swappiness: 99}
  network: {post_cmds: ['touch /run/oem-post']}
`

// richHash is "correct horse" as openssl passwd -6 has it.
const richHash = "$6$7lLZr8NF3gM4q/PQ$sxfxGj93maxPoBb.Oq728FcFIhkIM8DA3LqeOTexfWhWxcW54FI3bBVvOk1zz./j2si1X84MwCd2J5kiEHal5/"

// One machine does what one configuration with everything says, and lets
// nobody in otherwise.
func TestConfiguration(t *testing.T) {
	t.Parallel()
	iso := artifact(t, isoName)
	bob, err := qemutest.NewKey("bob")
	if err != nil {
		t.Fatal(err)
	}
	config := strings.NewReplacer("HASH", richHash, "KEY", bob.Authorized,
		"CERTIFICATE", strings.ReplaceAll(certificate(t), "\n", `\n`)).Replace(richConfig)
	seed, err := newSeed(t.TempDir(), config)
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(t.TempDir(), "data.img")
	if err := qemutest.MakeDisk(data, 2048); err != nil {
		t.Fatal(err)
	}
	state := newLoggedDisk(t)
	oem := filepath.Join(t.TempDir(), "oem.img")
	if err := qemutest.WriteISO(t.Context(), oem, "RANCHER_OEM", map[string]string{"oem-config.yml": oemConfig}); err != nil {
		t.Fatal(err)
	}
	options := qemutest.Options{ISO: iso, Disks: []qemutest.Disk{state.Disk, {Path: data}, {Path: oem, ReadOnly: true}}}
	g := start(t, options, seed)
	g.eventually(t, "start commands have run", 60*time.Second, g.succeeds("test -e /run/bulkhead/console-done"))
	if _, err := g.AwaitConsole("final message", 30*time.Second, 0, regexp.MustCompile(`configured, up \d+\.\d+ s`)); err != nil {
		t.Error(err)
	}
	g.checkConfiguration(t, false)

	t.Run("logins", func(t *testing.T) {
		for _, tt := range []struct {
			name  string
			login qemutest.Login
			works bool
		}{
			{"hash", qemutest.LoginPassword("anna", "correct horse"), true},
			{"clear password", qemutest.LoginPassword("dora", "battery staple"), true},
			{"key", qemutest.LoginKey("bob", bob), true},
			{"keys of the machine for boot2docker's user", qemutest.LoginKey("docker", seed.key), true},
			// After five of these sshd keeps everybody who comes from here out for 24 s.
			{"wrong password", qemutest.LoginPassword("anna", "correct horses"), false},
			{"locked", qemutest.LoginPassword("carl", "correct horse"), false},
			{"no password configured", qemutest.LoginPassword("rancher", "rancher"), false},
			{"root", qemutest.LoginPassword("root", ""), false},
			{"somebody's key for another account", qemutest.LoginKey("rancher", bob), false},
			{"empty password", qemutest.LoginPassword("bob", ""), false},
		}[:times(9, 10)] {
			t.Run(tt.name, func(t *testing.T) {
				if works, err := g.AcceptsSSH(tt.login); err != nil || works != tt.works {
					t.Errorf("login works: %v, %v; want %v", works, err, tt.works)
				}
			})
		}
	})

	t.Run("applied while it runs", g.checkApply)
	t.Run("power cuts", func(t *testing.T) { g.checkPowerCuts(t, state) })

	t.Run("a later boot", func(t *testing.T) {
		g.root(t, "echo kept > /mnt/data/kept")
		runs := "shipped"
		if !testing.Short() {
			other := g.shippedImage(t, "console").derive(t, "e2e/console:next", nil, map[string]string{"io.bulkhead.console": "next"})
			g.bring(t, other, "/tmp/next.tar")
			g.root(t, "ros console enable /tmp/next.tar")
			runs = other.short()
		}
		if err := g.restart(t, func() { g.try(t, "sudo reboot") }); err != nil {
			t.Fatal(err)
		}
		g.eventually(t, "start commands have run", 60*time.Second, g.succeeds("test -e /run/bulkhead/console-done"))
		g.checkConfiguration(t, true)
		g.eventually(t, "the console that was enabled", time.Minute, func() error { return g.runsFrom("console", runs) })
		if got := g.root(t, "cat /mnt/data/kept"); got != "kept" {
			t.Errorf("what was on the data disk: %q; want kept", got)
		}
	})
	t.Run("reboot -f", func(t *testing.T) {
		defer g.Tolerate(diskGone)()
		if _, err := g.reset(t, func() { g.root(t, "(sleep 1; reboot -f) </dev/null >/dev/null 2>&1 &") }); err != nil {
			t.Fatal(err)
		}
	})
}

// checkConfiguration looks at everything that richConfig asks for; at a later
// boot not at what takes long to look at and depends on what is looked at.
func (g *guest) checkConfiguration(t *testing.T, later bool) {
	depends := []string{"time zone for containers", "mounts in containers", "proxies of System Docker", "what a file of a service does", "mounts in system containers"}
	for _, tt := range []struct{ name, command, want string }{
		{"host name", "hostname; hostname -f; grep 127.0.1.1 /etc/hosts", "ship\nship.example.org\n127.0.1.1 ship.example.org ship"},
		{"user", "getent passwd anna", "anna:x:1000:1000:Anna Example:/home/anna:/bin/bash"},
		{"groups", "id -Gn anna; id -Gn rancher", "anna docker crew made-on-the-way\nrancher sudo docker ops"},
		{"sudo", "sudo -u anna sudo -n id -u", "0"},
		{"no sudo", "sudo -u bob sudo -n id -u || echo no", "no"},
		{"number and shell", "getent passwd bob", "bob:x:2000:2000::/home/bob:/bin/sh"},
		{"home", "stat -c '%U %a' /home/anna /opt/dora; ls -d /home/robot || echo none", "anna 750\ndora 750\nnone"},
		{"time zone", "date -d 2026-07-01T12:00Z +%H%Z; cat /etc/timezone", "14CEST\nEurope/Berlin"},
		{"time zone for containers", "docker run --rm -v /etc/localtime:/l:ro %i sh -c 'tail -n 1 /l'", "CET-1CEST,M3.5.0,M10.5.0/3"},
		{"time servers", "cat /run/bulkhead/ntp/configuration.sources; sudo system-docker exec ntp chronyc -n sources | grep -c 10.0.2.2", "server 10.0.2.2 iburst\n1"},
		{"sysctl", "cat /proc/sys/net/core/somaxconn /proc/sys/vm/swappiness", "4099\n7"},
		{"module with parameters", "ls -d /sys/class/net/dummy*", "/sys/class/net/dummy0\n/sys/class/net/dummy1"},
		{"trust", "tail -n 1 /etc/ssl/certs/ca-certificates.crt; grep -c BEGIN /run/bulkhead/certs/trusted.pem", "-----END CERTIFICATE-----\n1"},
		{"mounts", "findmnt -rno FSTYPE,LABEL /mnt/data; findmnt -rno FSTYPE,LABEL /mnt/logs; findmnt -rno FSTYPE /mnt/ram; sudo head -c 3 /home/cargo/hold", "ext4 data\nxfs logs\ntmpfs\ntea"},
		{"mount options", "findmnt -rno OPTIONS /mnt/data | grep -c noatime", "1"},
		{"mounts in containers", "docker run --rm -v /mnt/data:/d %i head -c 3 /d/hold", "tea"},
		{"swap", "awk 'NR>1 {print $2}' /proc/swaps | sort | tr '\\n' ' '", "file partition "},
		{"a mount that fails has a name", "grep -c LABEL=nowhere /run/bulkhead/config-problems", "1"},
		{"owner and permissions", "stat -c '%U:%G %a' /mnt/data/hold", "anna:crew 640"},
		{"append", "grep -c 'extra line' /etc/motd", "1"},
		{"daemon.json", "docker info -f '{{.Labels}}'", "[ship=bulkhead]"},
		{"bootcmd", "cat /run/bootcmd-ran", "/root"},
		{"runcmd", "cat /run/runcmd-proxy; test -s /run/runcmd-ran && echo ran", "http://proxy.example.org:3128\nran"},
		{"proxies", "echo $https_proxy; bash -lc 'echo $NO_PROXY'; docker info -f '{{.HTTPSProxy}}'", "http://proxy.example.org:3128\nlocalhost,10.0.0.0/8\nhttp://proxy.example.org:3128"},
		{"proxies of System Docker", "sudo system-docker pull registry.example.org/a 2>&1 | grep -c 'lookup proxy.example.org'; sudo system-docker info -f '{{.NoProxy}}'", "1\nlocalhost,10.0.0.0/8"},
		{"files of services", "cat /test; for s in ntp syslog; do sudo system-docker exec $s cat /test; done; sudo system-docker exec ntp stat -c %a /test", "consolentpsyslog600"},
		{"what a file of a service does", "logger -p local7.info e2e-local7; sleep 1; sudo grep -q e2e-local7 /var/log/e2e.log && echo yes", "yes"},
		{"start commands", "cat /run/starts", "runcmd as text\nruncmd as list\nscript\nstart.sh\nrc.local"},
		{"a container as start command", "test -s /run/runcmd-docker && echo ran || sudo tail -n 20 /var/log/runcmd.log", "ran"},
		{"the maker's configuration", "cat /proc/sys/kernel/domainname; sudo ros config get rancher.sysctl.kernel.domainname; sudo system-docker exec network ls /run/oem-post", "oem.example.org\noem.example.org\n/run/oem-post"},
		{"services restarted", "sudo grep -rq 'service is to be restarted.*service=acpid' /var/log && echo yes", "yes"},
		{"mounts in system containers", `sudo mkdir -p /mnt/shared
			sudo system-docker run --rm --net none --privileged -v /mnt:/mnt:rshared $(sudo system-docker inspect -f '{{.Image}}' console) mount -t tmpfs shared /mnt/shared
			sudo nsenter -t 1 -m findmnt -rno FSTYPE /mnt/shared; findmnt -rno FSTYPE /mnt/shared; sudo umount /mnt/shared`, "tmpfs\ntmpfs"},
		{"privacy", "grep -c 'correct horse' -r /run/bulkhead /var/log/messages 2>/dev/null | grep -v ':0' || echo none", "none"},
	} {
		if later && testing.Short() && slices.Contains(depends, tt.name) {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			if strings.Contains(tt.command, "%i") {
				g.needImage(t)
			}
			r := g.try(t, strings.ReplaceAll(tt.command, "%i", image))
			if got := strings.TrimSpace(r.Stdout); got != strings.TrimSpace(tt.want) {
				t.Errorf("%s\n%s%s\nwant:\n%s", tt.command, r.Stdout, r.Stderr, tt.want)
			}
		})
	}
}

// certificate makes a certificate authority.
func certificate(t *testing.T) string {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "e2e"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
