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
docker build -q -t ship --target last . >/dev/null && docker run --rm ship && docker buildx build -q --target files --output out . && cat out/said && docker rmi ship >/dev/null && cd && rm -r ~/ship`,
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
}

// TestEveryday tries what people type first on any machine.
func TestEveryday(t *testing.T) {
	g := sharedGuest(t)
	g.clean(t)
	g.needImage(t)
	for _, tt := range everyday {
		t.Run(tt.name, func(t *testing.T) {
			want := regexp.MustCompile(tt.want)
			r := g.try(t, tt.commands)
			// Both outputs, since people read both.
			got := strings.ReplaceAll(r.Stdout+r.Stderr, "\r", "")
			if r.Exit != tt.exit || !want.MatchString(got) {
				t.Errorf("%s\nexit code %d, want %d; printed\n%s\nwant %s", tt.commands, r.Exit, tt.exit, got, tt.want)
			}
		})
	}
}
