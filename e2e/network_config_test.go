package e2e

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-os/bulkhead/e2e/qemutest"
)

// networkConfig describes the machine of TestNetworkConfig: its first card is
// QEMU's user network, the others lead to a switch with nothing on it.
const networkConfig = `rancher:
  network:
    dns:
      nameservers: [10.0.2.3]
      search: [lab.test]
    pre_cmds: [[sysctl, -w, net.ipv4.conf.all.log_martians=1]]
    post_cmds: ['ip -br link > /run/post']
    interfaces:
      eth0: {dhcp: true}
      eth1:
        addresses: [10.50.0.2/24, 'fd00:50::2/64']
        mtu: 1400
        post_up: ['ip route add 10.60.0.0/16 via 10.50.0.9 dev $iface']
      mac=52:54:00:00:00:02: {bond: bond0}
      mac=52:54:00:00:00:03: {bond: bond0}
      bond0: {bond_opts: {mode: active-backup, miimon: '100', nonsense: '1'}, vlans: '100,200:guests', address: 10.51.0.2/24}
      bond0.100: {address: 10.52.0.2/24}
      guests: {bridge: br0}
      br0: {bridge: 'true', address: 10.53.0.2/24}
      eth9: {address: 10.99.0.2/24}
  docker:
    bip: 172.30.0.1/24
    log_driver: local
    log_opts: {max-size: 1m}
    extra_args: [--label, tier=e2e, --nonsense=1]
    environment: [E2E=there]
    insecure_registry: ['10.0.2.2:5000']
`

func TestNetworkConfig(t *testing.T) {
	t.Parallel()
	qemutest.Need(t, qemutest.Binary, "xorriso")
	seed, err := writeSeed(t.TempDir(), qemutest.NoCloud, qemutest.VFAT, networkConfig)
	if err != nil {
		t.Fatal(err)
	}
	card := func(n string) []string {
		return []string{"-netdev", "hubport,id=hub" + n + ",hubid=1", "-device", "virtio-net-pci,netdev=hub" + n + ",mac=52:54:00:00:00:0" + n + ",romfile="}
	}
	args := slices.Concat(card("1"), card("2"), card("3"), []string{"-device", "pcie-root-port,id=slot4,chassis=4"})
	options := netBoot(t, "rancher.cloud_init.datasources=[ec2:"+silent(t)+",nocloud] rancher.state.directory=sub/dir")
	options.Args = args
	stick := filepath.Join(t.TempDir(), "stick.img")
	if err := qemutest.MakeDisk(stick, 64); err != nil {
		t.Fatal(err)
	}
	options.Disks = []qemutest.Disk{{Path: stateDisk(t, nil)}, {Path: stick}}
	g := start(t, options, seed)

	t.Run("a server that is silent", func(t *testing.T) {
		g.checkSilent(t)
		// It starts before the wait is over, and anew with what is known then.
		g.eventually(t, "user Docker is as configured", time.Minute, g.succeeds("docker network inspect bridge | grep -q 172.30.0.1"))
	})
	t.Run("interfaces are as configured", func(t *testing.T) {
		for _, want := range []struct{ command, text string }{
			{"ip -br -4 addr show eth0", "10.0.2.15/24"},
			{"ip -br addr show eth1", "10.50.0.2/24 fd00:50::2/64"},
			{"ip link show eth1", "mtu 1400"},
			{"ip -br -4 addr show bond0", "10.51.0.2/24"},
			{"ip -br -4 addr show bond0.100", "10.52.0.2/24"},
			{"ip -br -4 addr show br0", "10.53.0.2/24"},
			{"ip -d link show bond0", "mode active-backup "},
			{"ip -d link show bond0", " miimon 100 "},
			{"ip link show master bond0", "eth3"},
			{"ip -d link show guests", "vlan protocol 802.1Q id 200"},
			{"ip link show master br0", "guests"},
			{"ip route", "10.60.0.0/16 via 10.50.0.9 dev eth1"},
			{"cat /etc/resolv.conf", "search lab.test\nnameserver 10.0.2.3\n"},
			{"sudo system-docker exec network cat /run/post", "br0"},
			{"cat /proc/sys/net/ipv4/conf/all/log_martians", "1"},
		} {
			if got := g.sh(t, "%s", want.command) + "\n"; !strings.Contains(got, want.text) {
				t.Errorf("%s:\n%swant in it %q", want.command, got, want.text)
			}
		}
		log := g.root(t, "system-docker logs network 2>&1")
		for _, want := range []string{"bond_opts.nonsense", "rancher.network.interfaces.eth9: no such interface yet"} {
			if !strings.Contains(log, want) {
				t.Errorf("log does not tell of %s:\n%s", want, log)
			}
		}
		if strings.Contains(log, "Read-only file system") {
			t.Errorf("dhcpcd cannot write:\n%s", log)
		}
	})
	t.Run("a restart of the service disturbs nobody", func(t *testing.T) {
		before := g.sh(t, "ip -br addr | grep -v veth")
		g.root(t, "system-docker restart network")
		g.awaitHealthy(t, time.Minute, "cloud-init") // whose health tells of the silent server
		if after := g.sh(t, "ip -br addr | grep -v veth"); after != before {
			t.Errorf("addresses before:\n%s\nafter:\n%s", before, after)
		}
		if log := g.root(t, "system-docker logs --since 1m network 2>&1"); strings.Contains(log, "action=") {
			t.Logf("log of the restart:\n%s", log)
		}
	})
	t.Run("user Docker is as configured", func(t *testing.T) {
		for _, want := range []struct{ command, text string }{
			{"docker info", "tier=e2e"},
			{"docker info", "Bulkhead"},
			{"docker info", "Logging Driver: local"},
			{"docker info", "10.0.2.2:5000"},
			{"docker network inspect bridge", "172.30.0.1"},
			{"sudo sh -c 'tr \\\\0 \\\\n < /proc/$(pgrep -o -f dockerd.--config-file)/environ'", "E2E=there"},
			{"sudo system-docker logs docker 2>&1", "--nonsense: no effect here"},
		} {
			if got := g.sh(t, "%s", want.command); !strings.Contains(got, want.text) {
				t.Errorf("%s:\n%s\nwant in it %q", want.command, got, want.text)
			}
		}
	})
	t.Run("a user may ping", func(t *testing.T) { g.sh(t, "ping -c 1 -W 5 127.0.0.1") })
	t.Run("a link of WireGuard", g.checkTunnel)
	t.Run("a firewall", g.checkFirewall)
	t.Run("a card that is plugged in gets its configuration", func(t *testing.T) {
		g.root(t, "ros config set rancher.network.interfaces.eth4.address 10.54.0.2/24 && system-docker restart network")
		if err := g.Monitor.Execute(t.Context(), "netdev_add", map[string]any{"type": "hubport", "id": "hub4", "hubid": 1}, nil); err != nil {
			t.Fatal(err)
		}
		if err := g.Monitor.Execute(t.Context(), "device_add", map[string]any{"driver": "virtio-net-pci", "netdev": "hub4", "id": "card4", "bus": "slot4"}, nil); err != nil {
			t.Fatal(err)
		}
		g.eventually(t, "its address", 30*time.Second, g.succeeds("ip -br -4 addr show eth4 | grep 10.54.0.2/24"))
	})
	t.Run("services run from preloaded images", func(t *testing.T) {
		g.importImage(t, "docker", "preloaded:e2e")
		g.root(t, `cd /var/lib/rancher && mkdir -p preload/docker preload/system-docker &&
			docker save preloaded:e2e | gzip > preload/docker/images.tgz && cp preload/docker/images.tgz preload/system-docker/ &&
			echo damaged > preload/docker/damaged.tar && docker rmi preloaded:e2e`)
		g.importImage(t, "docker", "carried:e2e")
		g.root(t, `mkfs.vfat -n PRELOAD /dev/vdb && mount /dev/vdb /mnt && mkdir /mnt/docker &&
			docker save carried:e2e > /mnt/docker/carried.tar && umount /mnt && docker rmi carried:e2e`)
		r := g.pipe(t, "sudo ros config merge", strings.NewReader(`rancher:
  services:
    inuser: {image: 'preloaded:e2e', command: sleep 1000, restart: always}
    fromdisk: {image: 'carried:e2e', command: sleep 1000}
    insystem: {image: 'preloaded:e2e', command: sleep 1000, restart: always, labels: {io.rancher.os.scope: system}}
    holder: {image: 'preloaded:e2e', labels: {io.rancher.os.createonly: 'true'}}
`))
		if r.Exit != 0 {
			t.Fatalf("ros config merge: %s%s", r.Stdout, r.Stderr)
		}
		// It does at its start what it does at a boot.
		g.root(t, "pkill -KILL -x orchestrator")
		for _, command := range []string{
			"docker ps | grep inuser", "docker ps | grep fromdisk", "sudo system-docker ps | grep insystem", "docker ps -a | grep -i 'created.*holder'",
			"sudo test -f /var/lib/rancher/preload/docker/images.tgz.done", "sudo sh -c 'test -f /var/lib/rancher/preload/disks/*/docker/carried.tar.done'",
		} {
			g.eventually(t, command, time.Minute, g.succeeds(command))
		}
		g.root(t, "blockdev --rereadpt /dev/vdb") // fails as long as the disk is mounted
		if log := g.root(t, "cat /var/log/messages /var/log/system-docker.log"); !strings.Contains(log, "damaged.tar") {
			t.Error("no log tells of the damaged archive")
		}
	})
	if !testing.Short() {
		t.Run("keys of services have their effect", g.checkServiceKeys)
	}
}

// serviceKeys uses the image that is preloaded in both tiers.
const serviceKeys = `rancher:
  environment: {CITY: berlin, SHIP_NAME: fram, SHIP_FLAG: norway}
  services:
    db: {image: 'preloaded:e2e', command: sleep 1000, networks: [back], hostname: dbhost, volumes: ['data:/data']}
    kin: {image: 'preloaded:e2e', command: sleep 1000, net: 'service:db'}
    web:
      image: preloaded:e2e
      container_name: site
      entrypoint: [sh, -c]
      command: ['echo from-web > /data/who; exec sleep 1000']
      depends_on: [kin]
      networks: [back, front]
      volumes_from: [db]
      links: ['db:database']
      environment: [CITY, 'B=own']
      env_file: /opt/web.env
      cap_drop: [ALL]
      cap_add: [NET_RAW]
      read_only: true
      tmpfs: /run
      mem_limit: 64M
      pids_limit: 50
      ulimits: {nofile: {soft: 512, hard: 1024}}
      sysctls: {net.core.somaxconn: 1234}
      extra_hosts: ['lab:10.9.8.7']
      healthcheck: {test: 'true', interval: 5s}
      init: true
      stop_grace_period: 3s
    agent:
      image: preloaded:e2e
      command: sleep 1000
      user: '1000:1000'
      working_dir: /tmp
      environment: [CITY, 'SHIP_*']
      pid: host
      devices: ['/dev/zero:/dev/nought']
      labels: {io.rancher.os.scope: system}
`

// checkServiceKeys looks from inside at what services were given.
func (g *guest) checkServiceKeys(t *testing.T) {
	g.root(t, `printf 'A=file\nB=file\n' > /opt/web.env`)
	if r := g.pipe(t, "sudo ros config merge", strings.NewReader(serviceKeys)); r.Exit != 0 {
		t.Fatalf("ros config merge: %s%s", r.Stdout, r.Stderr)
	}
	g.root(t, "ros config apply")
	g.eventually(t, "the last of them runs and is healthy", time.Minute, g.succeeds("docker inspect -f '{{.State.Health.Status}}' site | grep -x healthy"))
	const site, agent = "docker exec site sh -c ", "sudo system-docker exec agent sh -c "
	for _, check := range []struct{ command, want string }{
		{"docker exec db cat /data/who", "from-web"}, // volumes_from, entrypoint
		{site + "'ping -c 1 -W 5 database >/dev/null && echo there'", "there"},
		{site + "'echo $A $B $CITY'", "file own berlin"},
		{site + "'touch /x 2>&1 | grep -o Read-only; touch /run/x && echo written'", "Read-only\nwritten"},
		{site + "'cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max /proc/sys/net/core/somaxconn; ulimit -n'", "67108864\n50\n1234\n512"},
		{site + "'grep -c ^CapEff.*0000000000002000 /proc/self/status; grep lab /etc/hosts'", "1\n10.9.8.7\tlab"},
		{site + "'cat /proc/1/comm'", "docker-init"},
		{"docker inspect -f '{{.Config.StopTimeout}}' site", "3"},
		{"docker exec db hostname", "dbhost"},
		{"test \"$(docker exec kin ip addr)\" = \"$(docker exec db ip addr)\" && echo shared", "shared"},
		{agent + "'id -u; pwd; head -c 1 /dev/nought | wc -c; cat /proc/1/comm'", "1000\n/tmp\n1\ndockerd"},
		{agent + "'echo $CITY $SHIP_NAME $SHIP_FLAG'", "berlin fram norway"},
		{"sudo ros service list -a | awk '$1 == \"site\" {print $2, $3}'", "user running"},
	} {
		if got := g.sh(t, "%s", check.command); got != check.want {
			t.Errorf("%s: %q; want %q", check.command, got, check.want)
		}
	}
}
