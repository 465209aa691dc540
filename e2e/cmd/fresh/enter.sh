#!/bin/sh
# Runs in mount and PID namespaces of its own: enters the system in $1 with the
# folders of $2 (from:to, one a line) and runs the rest there, in the folder $3.
# All that it mounts and starts ends with it.
set -eu
root=$1 folders=$2 dir=$3
shift 3
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount --rbind /dev "$root/dev"
printf '%s\n' "$folders" | while IFS=: read -r from to; do
	mkdir -p "$from" "$root$to"
	mount --bind "$from" "$root$to"
done
exec chroot "$root" /usr/bin/env -i --chdir="$dir" HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
