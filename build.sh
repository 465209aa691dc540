#!/bin/bash
# Build the OS from this tree into dist/. Works as root or with sudo; arguments
# go to mkos (./build.sh -help). What is built and how: docs/build.md.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=scripts/prepare
. scripts/prepare

case " $* " in *" -console "*) build_packages+=(mmdebstrap) ;; esac
prepare "${build_packages[@]}"
# Not stamped with the commit: mkos only changes when its source does, and its
# caches are keyed by it.
exec go run -buildvcs=false ./cmd/mkos -archives "$@"
