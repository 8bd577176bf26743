#!/bin/sh
# Builds the embedded probe for both architectures and records the compilers. The
# bytes are checked in, so that a machine with Go alone can build sigmactl; a test
# rebuilds and compares them where the recorded compilers are present.
set -eu
cd "$(dirname "$0")"
out=${1:-.}
flags="-Os -static -nostdlib -nostartfiles -ffreestanding -fno-stack-protector -fcf-protection=none
 -fno-asynchronous-unwind-tables -fno-pie -no-pie -Wall -Wextra -Werror
 -Wl,--build-id=none -Wl,-z,noseparate-code -Wl,-z,noexecstack -s"
: >"$out/compilers.txt"
for arch in amd64:x86_64-linux-gnu arm64:aarch64-linux-gnu; do
	cc=${arch#*:}-gcc
	f=$flags
	case $arch in arm64*) f="$(echo $flags | sed 's/-fcf-protection=none/-mno-outline-atomics/') -Wl,-z,max-page-size=4096" ;; esac
	if ! command -v "$cc" >/dev/null; then
		echo "build.sh: no $cc; install it (Debian: gcc, gcc-aarch64-linux-gnu, libc6-dev-arm64-cross)" >&2
		exit 1
	fi
	"$cc" $f -o "$out/probe_${arch%%:*}" *.c
	"${arch#*:}-strip" -R .comment "$out/probe_${arch%%:*}"
	echo "${arch%%:*} $("$cc" --version | head -1)" >>"$out/compilers.txt"
done
