#!/bin/sh
# Makes the peer out of a fresh Debian tree, $1; a hook of mmdebstrap.
set -eu
root=$1
echo peer > "$root/etc/hostname"
echo 'LABEL=PEER / ext4 defaults 0 1' > "$root/etc/fstab"
printf 'auto lo\niface lo inet loopback\nallow-hotplug eth0\niface eth0 inet dhcp\n' > "$root/etc/network/interfaces"
printf 'net.ipv4.ip_forward=1\nnet.ipv6.conf.all.forwarding=1\n' > "$root/etc/sysctl.d/docker.conf"
mkdir -p "$root/etc/docker"
echo '{"firewall-backend": "nftables"}' > "$root/etc/docker/daemon.json"
chroot "$root" groupadd -f docker
cat > "$root/etc/systemd/system/containerd.service" <<'UNIT'
[Unit]
After=network.target local-fs.target
[Service]
ExecStart=/usr/local/bin/containerd
Type=notify
Delegate=yes
KillMode=process
OOMScoreAdjust=-999
[Install]
WantedBy=multi-user.target
UNIT
cat > "$root/etc/systemd/system/docker.service" <<'UNIT'
[Unit]
After=network-online.target nss-lookup.target containerd.service
Wants=network-online.target containerd.service
[Service]
Environment=PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ExecStart=/usr/local/bin/dockerd --containerd=/run/containerd/containerd.sock
Type=notify
Delegate=yes
KillMode=process
OOMScoreAdjust=-500
[Install]
WantedBy=multi-user.target
UNIT
# Says on the console when the API answers, which is when docker.service has
# notified, and, after 10 s of rest, how much memory is in use.
cat > "$root/usr/local/bin/report" <<'REPORT'
#!/bin/bash
read -r up _ < /proc/uptime
echo "peer: ready in $up s" > /dev/ttyS0
sleep 10
awk '/^MemTotal/ {t=$2} /^MemAvailable/ {a=$2} END {printf "peer: memory %d kB\n", t-a}' /proc/meminfo > /dev/ttyS0
REPORT
chmod 755 "$root/usr/local/bin/report"
cat > "$root/etc/systemd/system/report.service" <<'UNIT'
[Unit]
After=docker.service
[Service]
ExecStart=/usr/local/bin/report
[Install]
WantedBy=multi-user.target
UNIT
chroot "$root" systemctl -q enable containerd docker report
