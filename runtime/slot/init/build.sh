#!/bin/sh
# Builds the embedded PID 1 for both architectures and records the compilers.
# The bytes are checked in, so that a machine with Go alone can build sigmad;
# a test rebuilds and compares them where the recorded compiler is present.
set -eu
cd "$(dirname "$0")"
out=${1:-.}
flags="-Os -static -nostdlib -nostartfiles -ffreestanding -fno-stack-protector -fcf-protection=none
 -fno-asynchronous-unwind-tables -fno-pie -no-pie -Wall -Wextra -Werror
 -Wl,--build-id=none -Wl,-z,noseparate-code -Wl,-z,noexecstack -s"
: >"$out/compilers.txt"
for arch in amd64:x86_64-linux-gnu-gcc arm64:aarch64-linux-gnu-gcc; do
	cc=${arch#*:}
	f=$flags
	case $arch in arm64*) f=$(echo $flags | sed 's/-fcf-protection=none/-mno-outline-atomics/') ;; esac
	if ! command -v "$cc" >/dev/null; then
		echo "build.sh: no $cc; install it (Debian: gcc, gcc-aarch64-linux-gnu)" >&2
		exit 1
	fi
	"$cc" $f -o "$out/init_${arch%%:*}" init.c
	strip -R .comment "$out/init_${arch%%:*}" 2>/dev/null || aarch64-linux-gnu-strip -R .comment "$out/init_${arch%%:*}"
	echo "${arch%%:*} $("$cc" --version | head -1)" >>"$out/compilers.txt"
done
