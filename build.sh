#!/bin/bash
# Build the OS from this tree into dist/. Works as root or with sudo; arguments
# go to mkos (./build.sh -help). What is built and how: docs/build.md.
set -euo pipefail
cd "$(dirname "$0")"

# For runc (C, static libseccomp) and for the trust in Debian's archive; all
# other tools are fetched by mkos.
packages=(ca-certificates debian-archive-keyring gcc git libc6-dev libseccomp-dev pkg-config)

case " $* " in *" -console "*) packages+=(mmdebstrap) ;; esac

install_missing() {
  local missing=() p
  for p in "${packages[@]}"; do
    dpkg-query -W -f '${db:Status-Status}\n' "$p" 2>/dev/null | grep -qx installed || missing+=("$p")
  done
  [ ${#missing[@]} -eq 0 ] && return
  echo "installing ${missing[*]}"
  local sudo=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "build.sh: need root or sudo to install ${missing[*]}" >&2; exit 1; }
    sudo=(sudo)
  fi
  "${sudo[@]}" apt-get -q update
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qy --no-install-recommends install "${missing[@]}"
}

find_go() {
  local dir
  for dir in "" /usr/local/go/bin "$HOME/go/bin" /usr/lib/go/bin /snap/bin; do
    if PATH="${dir:+$dir:}$PATH" command -v go >/dev/null; then
      PATH="${dir:+$dir:}$PATH"
      return
    fi
  done
  echo "build.sh: no Go; install it from go.dev/dl (any version since 1.21 fetches the one that go.mod asks for)" >&2
  exit 1
}

install_missing
find_go
# Not stamped with the commit: mkos only changes when its source does, and its
# caches are keyed by it.
exec go run -buildvcs=false ./cmd/mkos -archives "$@"
