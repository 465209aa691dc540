package e2e

import (
	"regexp"
	"strings"
	"testing"
)

// A trial is a situation that people met elsewhere: commands that rancher types
// over ssh, and what has to come of them.
type trial struct {
	name     string
	commands string
	// want is a regular expression for what is printed, on both outputs.
	want string
	exit int
	// release: a change need not pass it.
	release bool
}

// everyday are the trials that leave a machine as they found it.
var everyday = []trial{
	// Compose and buildx.
	{name: "docker compose is there", commands: "docker compose version --short && sudo docker compose version --short && docker-compose version --short", want: `^(\d+\.\d+\.\d+\n){3}$`},
	{name: "docker buildx is there", commands: "docker buildx version && sudo docker buildx version", want: `^(github.com/docker/buildx v\d.*\n){2}$`},
	{name: "plugins are in the help", commands: "docker --help | grep -E '^  (buildx|compose)\\*'", want: `^  buildx\* .*\n  compose\* .*\n$`},
	{name: "what was an optional service", commands: "sudo ros service enable docker-compose", want: `docker compose is part of the OS`},
	{name: "versions belong together", commands: "docker version -f '{{.Client.Version}} {{.Server.Version}}' | awk '$1 == $2'", want: `^\d+\.\d+\.\d+ `},
	{name: "info names containerd", commands: "docker info -f '{{.ContainerdCommit.ID}}'", want: `^v2\.\d+\.\d+\n$`},
	{name: "cache mounts, heredocs, several stages", commands: `rm -rf ~/ship && mkdir ~/ship && cd ~/ship && cat >Dockerfile <<'X'
FROM ` + image + ` AS made
RUN --mount=type=cache,target=/cache echo ahoy >/cache/x && cp /cache/x /said
RUN <<END
echo two >>/said
END
FROM ` + image + ` AS last
COPY --from=made /said /said
COPY <<END /written
by a heredoc
END
CMD cat /said /written
FROM scratch AS files
COPY --from=made /said /
X
docker build -q -t ship --target last . >/dev/null && docker run --rm ship && docker buildx build -q --target files --output out . >/dev/null && cat out/said && docker rmi ship >/dev/null && cd && rm -r ~/ship`,
		want: `^ahoy\ntwo\nby a heredoc\nahoy\ntwo\n$`},
	{name: "the classic builder, when asked for", commands: `printf 'FROM ` + image + `\nRUN echo classic\n' | DOCKER_BUILDKIT=0 docker build -`, want: `Step 2/2 : RUN echo classic`},
	{name: "a project of three services", commands: `rm -rf ~/shop && mkdir -p ~/shop/web && cd ~/shop && echo s3cret >key.txt && printf 'FROM ` + image + `\nCOPY <<E /srv/index.html\nahoy\nE\nCMD httpd -f -h /srv\n' >web/Dockerfile && cat >compose.yml <<'X'
services:
  web:
    build: web
    healthcheck: {test: wget -q -O - http://127.0.0.1/, interval: 1s, start_period: 30s}
    ports: ['8090:80']
  key:
    image: ` + image + `
    command: cat /run/secrets/key
    secrets: [key]
    depends_on: {web: {condition: service_healthy}}
  log:
    image: ` + image + `
    command: sh -c 'wget -q -O /data/page http://web/ && sleep 1d'
    volumes: ['data:/data']
    depends_on: {key: {condition: service_completed_successfully}}
volumes: {data: {}}
secrets: {key: {file: key.txt}}
X
docker compose up -d --quiet-build >/dev/null 2>up.log || { cat up.log; exit 1; }
docker compose logs --no-log-prefix key && curl -sf http://127.0.0.1:8090/ && docker compose exec -T log cat /data/page && docker compose ps --status running --format '{{.Service}}' | sort | xargs
docker compose down --volumes --rmi local --timeout 0 >/dev/null 2>&1 && cd && rm -r ~/shop`,
		want: `^s3cret\nahoy\nahoy\nlog web\n$`},

	// What systemd does elsewhere.
	{name: "a tunnel device without modprobe", commands: "stat -c '%A %U' /dev/net/tun && docker run --rm --cap-add NET_ADMIN --device /dev/net/tun " + image + " ls -l /dev/net/tun", want: `^crw-rw-rw- root\ncrw-rw-rw-`},
	{name: "the first who opens it loads the driver", commands: "docker run --rm --cap-add NET_ADMIN --device /dev/net/tun " + image + " sh -c ': <>/dev/net/tun' && grep -c ^tun /proc/modules", want: `^1\n$`},
	{name: "nodes of all such drivers", commands: `sed -n 's/^[^#][^ ]* \([^ ]*\) [cb].*/\1/p' /lib/modules/$(uname -r)/modules.devname | while read -r n; do [ -e /dev/$n ] || echo missing $n; done; stat -c '%a %G %n' /dev/fuse /dev/loop-control`, want: `^666 root /dev/fuse\n660 disk /dev/loop-control\n$`},
	{name: "the kernel's file systems", commands: `for d in kernel/debug kernel/tracing kernel/config kernel/security fs/fuse/connections fs/bpf fs/pstore; do findmnt -no FSTYPE /sys/$d || echo none at $d; done | xargs`, want: `^debugfs tracefs configfs securityfs fusectl bpf pstore\n$`},
	{name: "tracing in a container", commands: "docker run --rm --privileged -v /sys/kernel/debug:/sys/kernel/debug:ro -v /sys/kernel/tracing:/sys/kernel/tracing:ro " + image + " sh -c 'test -d /sys/kernel/debug/block && ls /sys/kernel/tracing/events | grep -x sched'", want: `^sched\n$`},
	{name: "a machine id that all see", commands: "cat /etc/machine-id; docker run --rm -v /etc/machine-id:/x:ro " + image + " cat /x; sudo cat /var/lib/rancher/conf/machine-id", want: `^([0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15})\n`},
	{name: "one machine id", commands: "{ cat /etc/machine-id; docker run --rm -v /etc/machine-id:/x:ro " + image + " cat /x; sudo cat /var/lib/rancher/conf/machine-id; } | sort -u | wc -l", want: `^1\n$`},
	{name: "half of the memory in /tmp", commands: `awk '/^MemTotal/ {m=$2} END {"df -k --output=size /tmp | tail -1" | getline t; print (t > m*0.49 && t < m*0.51) ? "half" : t " of " m}' /proc/meminfo`, want: `^half\n$`},

	// Where people type.
	{name: "shutdown with a time and a message, and back", commands: `sudo shutdown +90 "going down" && sudo shutdown --show && sudo shutdown -c "after all not" && sudo shutdown --show`, want: `^The machine will power off at .*; shutdown -c cancels it\.\nThe machine will power off at .*\nshutdown: no end of the machine is scheduled\n$`, exit: 1},
	{name: "shutdown at a time of day", commands: `sudo shutdown -r 23:59 && sudo shutdown -c`, want: `^The machine will reboot at \w+ [\d-]+ 23:59:00 `},
	{name: "a word that is no time", commands: `sudo shutdown tomorrow`, want: `"tomorrow" is no time: want now, \+MINUTES or HH:MM`, exit: 2},
	{name: "everybody is told", commands: `script -qec 'sleep 1; sudo shutdown -k +5 "tea first"; sleep 1' /dev/null`, want: `tea first\nThe machine will power off at `},
	{name: "the address before the login prompt", commands: "cat /etc/issue", want: `ssh rancher@10\.0\.2\.15\n`},
	{name: "what busybox has", commands: `for c in $(find /usr/bin -lname busybox -printf '%f\n'); do busybox --list | grep -qx "$c" || echo "no $c"; done; wget --help 2>&1 | head -1; nslookup localhost >/dev/null; command -v wget nc nslookup traceroute unzip ifconfig route telnet bzip2 | wc -l`, want: `^BusyBox .*\n9\n$`},
	{name: "tools that hints name", commands: `sudo iptables -S INPUT && sudo nft list tables >/dev/null && sudo ethtool -k eth0 | head -1 && wg --version && sudo system-docker exec network sh -c 'iptables -S INPUT && nft list ruleset >/dev/null && ethtool -K lo gro off && wg show'`, want: `^-P INPUT ACCEPT\nFeatures for eth0:\nwireguard-tools v.*\n-P INPUT ACCEPT\n$`},
	{name: "how to get what is not there", commands: `bash -ic 'git status' </dev/null 2>&1 | tail -2`, want: `bash: git: command not found\nA container has it, .*: docker run `},
	{name: "cron's way", commands: `bash -ic 'crontab -l' </dev/null 2>&1 | tail -1`, want: `labels: \{cron\.schedule: `},
	{name: "an example of a schedule", commands: `printf 'rancher: {services: {job: {image: busybox, command: date, labels: {cron.schedule: "@daily"}}}}' | ros config validate -`, want: `^$`},
	{name: "/tmp with another size", commands: `sudo ros config set rancher.tmp_size 300M && sudo ros config apply >/dev/null && df -m --output=size /tmp | tail -1; sudo ros config set rancher.tmp_size 50% && sudo ros config apply >/dev/null`, want: `^ +300\n$`},
	{name: "cards answer to names of other systems", commands: `n=$(ip -j link show eth0 | jq -r '.[0].altnames[0]'); echo "$n" | grep -qE '^en[ops]' && ip -br link show "$n"`, want: `^eth0 `},
	{name: "a name that can only mean one card", commands: `sudo ros config set rancher.network.interfaces '{ens192: {address: 10.0.2.15/24, gateway: 10.0.2.2}}' && sudo system-docker restart network >/dev/null; for i in $(seq 60); do ip -4 -o addr show eth0 | grep forever >/dev/null && echo static && break; sleep 1; done; sudo ros config validate --machine; sudo ros config delete rancher.network.interfaces && sudo system-docker restart network >/dev/null`, want: `^static\n$`},
	{name: "a name that no card has", release: true, commands: `sudo ros config set rancher.network.interfaces '{eth0: {dhcp: true, dhcp_args: --metric=50}, eth9: {dhcp: true}}' && sudo system-docker restart network >/dev/null; for i in $(seq 60); do [ -s /run/bulkhead/network/problems ] && break; sleep 1; done; sudo ros config validate --machine; sudo ros status | grep eth9; sudo ros config delete rancher.network.interfaces && sudo system-docker restart network >/dev/null`,
		want: `^network: rancher\.network\.interfaces\.eth9: no such interface yet; there is eth0, also en.*\(52:54:.*\)\n  network: rancher`},
	{name: "user data of several parts", commands: `printf 'Content-Type: multipart/mixed; boundary=X\nMIME-Version: 1.0\n\n--X\nContent-Type: text/cloud-config\n\n#cloud-config\nhostnam: a\n--X--\n' | ros config validate -`, want: `^standard input part 1:2:1: hostnam: unknown key`, exit: 1},
	{name: "a network-config", commands: `printf 'version: 2\nethernets: {ens18: {dhcp4: true, wifi: x}}\n' | ros config validate --network -`, want: `^standard input:2: ens18: "wifi" has no effect here`, exit: 1},
	{name: "settings of a link that comes later", commands: `sudo ros config set rancher.sysctl.net.ipv4.conf.later0.rp_filter 2 && sudo ros config apply >/dev/null; sudo ip link add later0 type dummy && sleep 3 && cat /proc/sys/net/ipv4/conf/later0/rp_filter; sudo ip link delete later0; sudo ros config set rancher.sysctl '{}' >/dev/null`, want: `\n?2\n$`},
}

// settings are trials with the user's daemon.json, which is $file.
var settings = []trial{
	{name: "keys that cannot hold", commands: `put '{"data-root": "/docker", "userns-remap": "default", "storage-driver": "overlay2", "log-driver": "journald", "exec-opts": ["native.cgroupdriver=systemd"], "graph": "/x", "mtu": 1400}'
docker info -f '{{.DockerRootDir}} {{.Driver}} {{.LoggingDriver}} {{.CgroupDriver}}'; docker run --rm ` + image + ` echo runs; cut -d: -f2,3 /run/user-docker/problems | xargs; sudo ros status | grep -c 'user Docker: /etc/docker/daemon.json'`,
		want: `^/var/lib/docker overlayfs json-file cgroupfs\nruns\ndata-root: left out exec-opts: left out graph: left out log-driver: left out storage-driver: left out userns-remap: left out\n6\n$`},
	{name: "keys that the daemon refuses", commands: `put '{"no-such-key": 1, "log-level": "chatty", "debug": "yes", "labels": ["ship=yes"]}'; docker info -f '{{.Labels}}'; cut -d: -f2,3 /run/user-docker/problems | xargs`,
		want: `^\[ship=yes\]\ndebug: left out log-level: left out no-such-key: left out\n$`},
	{name: "a file that a daemon ends with", commands: `put '{"bip": "10.99.0.1/24", "default-runtime": "nvidia"}'; docker info -f '{{.DefaultRuntime}}'; cut -d: -f1,2 /run/user-docker/problems`,
		want: `^runc\n/etc/docker/daemon.json: `},
	{name: "a file that is no JSON any more", commands: `put '{"labels": ["ship=good"]}'; put '{"labels": ["ship=bad"],}'; docker info -f '{{.Labels}}'; cat /run/user-docker/problems`,
		want: `^\[ship=good\]\n/etc/docker/daemon.json: line 1: .*: the last good file counts`},
	{name: "a correction counts by itself", commands: `put '{"log-driver": "journald", "labels": ["ship=old"]}'; echo '{"labels": ["ship=new"]}' | sudo tee $file >/dev/null; for i in $(seq 60); do docker info -f '{{.Labels}}' 2>/dev/null | grep new && break; sleep 1; done; ls /run/user-docker/problems`,
		want: `^\[ship=new\]\nls: cannot access`, exit: 2},
}

// swarm are the trials of one machine that is a swarm, in their order.
var swarm = []trial{
	{name: "one command", commands: `docker run -d --name before ` + image + ` sleep 1d >/dev/null && docker swarm init; docker info -f '{{.Swarm.LocalNodeState}} {{.LiveRestoreEnabled}}'; docker inspect -f '{{.State.Running}} {{.RestartCount}}' before`,
		want: `(?s)^Swarm initialized.*\nactive false\ntrue 0\nDocker takes settings that suit a swarm`},
	{name: "a service with a port", commands: `docker service create -q --no-resolve-image --name web -p 8095:80 ` + image + ` sh -c 'mkdir -p /w && echo ahoy >/w/index.html && httpd -f -h /w' >/dev/null && for i in $(seq 60); do curl -sf http://127.0.0.1:8095/ && break; sleep 1; done`, want: `^ahoy\n`},
	{name: "a daemon.json that does not suit", commands: `echo '{"live-restore": true}' | sudo tee /etc/docker/daemon.json >/dev/null; sudo system-docker restart docker >/dev/null; wait-for-docker; cat /run/user-docker/problems; docker node ls -q | wc -l; sudo rm /etc/docker/daemon.json`,
		want: `^/etc/docker/daemon.json: live-restore: left out: a swarm does not go with it; .*\n1\n$`},
	{name: "and back", commands: `docker rm -f before >/dev/null; docker swarm leave -f && for i in $(seq 90); do docker info -f '{{.LiveRestoreEnabled}} {{.FirewallBackend.Driver}}' 2>/dev/null | grep '^true nftables' && break; sleep 1; done`, want: `(?s)left the swarm.*true nftables`},
}

// TestSwarm tries Docker's own cluster on one machine.
func TestSwarm(t *testing.T) {
	forRelease(t, "a swarm of one machine restarts user Docker three times")
	g := sharedGuest(t)
	g.clean(t)
	g.needImage(t)
	for _, tt := range swarm {
		t.Run(tt.name, func(t *testing.T) { g.tryOut(t, tt) })
	}
}

// TestEveryday tries what people type first on any machine.
func TestEveryday(t *testing.T) {
	g := sharedGuest(t)
	g.clean(t)
	g.needImage(t)
	for _, tt := range everyday {
		if tt.release && testing.Short() {
			continue
		}
		t.Run(tt.name, func(t *testing.T) { g.tryOut(t, tt) })
	}
	// A daemon that ends with a setting is what one of them is about.
	defer g.Tolerate(regexp.MustCompile(`bulkhead: FAILED step=user-docker/dockerd`))()
	defer g.root(t, "rm -f /etc/docker/daemon.json; system-docker restart docker; wait-for-docker")
	const put = `file=/etc/docker/daemon.json; put() { echo "$1" | sudo tee $file >/dev/null; sudo system-docker restart docker >/dev/null; until docker info >/dev/null 2>&1; do sleep 1; done; }` + "\n"
	for _, tt := range settings {
		tt.commands = put + tt.commands
		t.Run("daemon.json/"+tt.name, func(t *testing.T) { g.tryOut(t, tt) })
	}
}

// tryOut does a trial.
func (g *guest) tryOut(t *testing.T, tt trial) {
	t.Helper()
	want := regexp.MustCompile(tt.want)
	r := g.try(t, tt.commands)
	// Both outputs, since people read both.
	got := strings.ReplaceAll(r.Stdout+r.Stderr, "\r", "")
	if r.Exit != tt.exit || !want.MatchString(got) {
		t.Errorf("%s\nexit code %d, want %d; printed\n%s\nwant %s", tt.commands, r.Exit, tt.exit, got, tt.want)
	}
}
